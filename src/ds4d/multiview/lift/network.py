"""The network of the shape prior: images of one object in, depth and color of its front and back out.

Convolutions at a half and a quarter of the resolution, a transformer on the tokens of an eighth, and the way back with
skip connections. Outputs are corrections of the inflated mask, zero before training.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

IN_CHANNELS = 8  # see ds4d.multiview.lift.inputs
OUT_CHANNELS = 7  # depth and its log scale for front and back, color of the back
_DEPTH_UNIT = 1 / 8  # of the crop's side: in smaller units training is slow


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network.

    Attributes:
        size: height and width of its images, pixels, a multiple of 8.
        half_channels: channels at half the resolution.
        quarter_channels: channels at a quarter of the resolution.
        width: channels of a token.
        depth: number of transformer blocks.
        head_width: channels of an attention head.
    """

    size: int = 128
    half_channels: int = 64
    quarter_channels: int = 128
    width: int = 320
    depth: int = 5
    head_width: int = 64


@dataclass(frozen=True)
class Prediction:
    """What the network says about each pixel inside the mask.

    Depths are relative to the plane through the origin, in units of the crop's side, and grow away from the camera.

    Attributes:
        front: depth at which the ray enters the object.
        back: depth at which it leaves the object, not below `front`.
        front_log_scale: logarithm of the expected absolute error of `front`.
        back_log_scale: logarithm of the expected absolute error of `back`.
        back_colors: straight sRGB colors of the back.
    """

    front: Float[Tensor, "B H W"]
    back: Float[Tensor, "B H W"]
    front_log_scale: Float[Tensor, "B H W"]
    back_log_scale: Float[Tensor, "B H W"]
    back_colors: Float[Tensor, "B 3 H W"]


class LiftNetwork(nn.Module):
    """Corrects the front and back of inflated masks, and colors the back.

    Args:
        config: size of the network.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter, width = config.half_channels, config.quarter_channels, config.width
        self.stem = nn.Conv2d(4 * IN_CHANNELS, half, 3, padding=1)
        self.half_in = ConvBlock(half)
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.quarter_in = ConvBlock(quarter)
        self.to_tokens = nn.Conv2d(quarter, width, 2, stride=2)
        self.positions = nn.Parameter(torch.empty(1, (config.size // 8) ** 2, width))
        if not self.positions.is_meta:  # random numbers that are not stored make torch import its compiler: a second
            nn.init.normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, config.head_width) for _ in range(config.depth))
        self.norm = nn.RMSNorm(width)
        self.from_tokens = nn.Conv2d(width, 4 * quarter, 1)
        self.join_quarter = nn.Conv2d(2 * quarter, quarter, 1)
        self.quarter_out = ConvBlock(quarter)
        self.from_quarter = nn.Conv2d(quarter, 4 * half, 1)
        self.join_half = nn.Conv2d(2 * half, half, 1)
        self.half_out = ConvBlock(half)
        self.out_norm = ChannelNorm(half)
        self.out = nn.Conv2d(half, 4 * OUT_CHANNELS, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Float[Tensor, "B 8 H W"]) -> Float[Tensor, "B 7 H W"]:
        """The corrections; `predict` adds them up."""
        half = self.half_in(self.stem(F.pixel_unshuffle(inputs, 2)))
        quarter = self.quarter_in(self.to_quarter(half))
        tokens = self.to_tokens(quarter)
        rows, columns = tokens.shape[-2:]
        tokens = tokens.flatten(2).mT + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens).mT.unflatten(2, (rows, columns))
        up = F.pixel_shuffle(self.from_tokens(tokens), 2)
        quarter = self.quarter_out(self.join_quarter(torch.cat((up, quarter), 1)))
        up = F.pixel_shuffle(self.from_quarter(quarter), 2)
        half = self.half_out(self.join_half(torch.cat((up, half), 1)))
        return F.pixel_shuffle(self.out(F.silu(self.out_norm(half))), 2)


def predict(corrections: Float[Tensor, "B 7 H W"], inputs: Float[Tensor, "B 8 H W"]) -> Prediction:
    """Adds the network's corrections to the inflated mask, and to the colors of the front for the back.

    Args:
        corrections: output of the network.
        inputs: its input.
    """
    values, half = corrections.float(), inputs[:, 5]
    front, back = _DEPTH_UNIT * values[:, 0] - half, _DEPTH_UNIT * values[:, 1] + half
    return Prediction(
        front=front,
        back=torch.maximum(front, back),
        front_log_scale=values[:, 2] - 3,
        back_log_scale=values[:, 3] - 3,
        back_colors=inputs[:, :3] + values[:, 4:7],
    )


class ConvBlock(nn.Module):
    """A residual block of two convolutions.

    Args:
        channels: channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """See the class."""
        return x + self.second(F.silu(self.first(self.norm(x))))


class ChannelNorm(nn.Module):
    """Divides each pixel by the root mean square of its channels.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """See the class."""
        scale = x.float().square().mean(1, keepdim=True).add(1e-6).rsqrt()
        return x * scale.to(x.dtype) * self.weight.to(x.dtype)


class TransformerBlock(nn.Module):
    """Self-attention over the tokens of an image, with normalized queries and keys, and a two-layer network.

    Args:
        width: channels of a token.
        head_width: channels of an attention head.

    Attributes:
        dropout: chance that a value is left out while training, set by whoever trains.
    """

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.dropout = 0.0
        self.heads = width // head_width
        self.norm, self.mlp_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query_norm, self.key_norm = nn.RMSNorm(head_width), nn.RMSNorm(head_width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
        """See the class."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.query_norm(q).to(v.dtype), self.key_norm(k).to(v.dtype)
        x = x + self._dropped(self.project(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))
        return x + self._dropped(self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh")))

    def _dropped(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
        return F.dropout(x, self.dropout, self.training)
