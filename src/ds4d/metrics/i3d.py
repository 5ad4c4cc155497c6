"""I3D (Carreira and Zisserman 2017), the network behind the field's video distances.

Two files of weights are in use, and their distances differ: `i3d_pretrained_400.pt` (VideoGPT, DisCo, Consistent4D),
whose layers are described here, and `i3d_torchscript.pt` (StyleGAN-V, V2M4), a program that torch runs.
"""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 224  # pixels
MIN_FRAMES = 10  # fewer are pooled to nothing

_STEM = (("Conv3d_1a_7x7", 3, 64, 7, 2), ("Conv3d_2b_1x1", 64, 64, 1, 1), ("Conv3d_2c_3x3", 64, 192, 3, 1))
# Channels of the branches: 1x1; 1x1 and 3x3; 1x1 and 3x3; 1x1 after pooling.
_MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
# Kernel and stride (time, height, width) of the pooling before these layers.
_POOLED = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class I3d(nn.Module):
    """I3D for Kinetics-400 with the layer names of VideoGPT's `i3d_pretrained_400.pt`.

    Args:
        weights: tensors by name; `num_batches_tracked` may be missing.

    Raises:
        ValueError: a weight is missing or has another shape.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, *sizes in _STEM:
            self.add_module(name, _Unit(*sizes))
        for name, (channels, widths) in _MIXED.items():
            self.add_module(name, _Mixed(channels, widths))
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(1024, 400, 1)})
        expected = {name for name in self.state_dict() if not name.endswith("num_batches_tracked")}
        try:
            self.load_state_dict({name: weights[name] for name in expected}, strict=False)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"I3D must have the weights of i3d_pretrained_400.pt, got others ({str(error)[:120]}). "
                "Use the file that `ds4d weights` lists as i3d."
            ) from error
        self.eval().requires_grad_(False)

    def forward(self, clips: Float[Tensor, "B 3 T 224 224"]) -> Float[Tensor, "B 400"]:
        """Logits averaged over time.

        Args:
            clips: colors in [-1, 1], at least `MIN_FRAMES` frames.
        """
        maps = clips
        for name in (*(layer[0] for layer in _STEM), *_MIXED):
            if name in _POOLED:
                kernel, stride = _POOLED[name]
                maps = F.max_pool3d(_padded(maps, kernel, stride), kernel, stride)
            maps = getattr(self, name)(maps)
        pooled = F.avg_pool3d(maps, (2, 7, 7), 1)
        return self.logits["conv3d"](pooled).mean(dim=(2, 3, 4))


class TorchScriptI3d(nn.Module):
    """StyleGAN-V's `i3d_torchscript.pt`, a TorchScript program.

    Args:
        file: the program, called as `program(x, rescale=False, resize=False, return_features=True)`.

    Raises:
        ValueError: the file is no TorchScript program.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            with warnings.catch_warnings():  # the format is old, and the only one in which these weights exist
                warnings.simplefilter("ignore", DeprecationWarning)
                self.program = torch.jit.load(str(file), map_location="cpu").eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(
                f"{file} must be a TorchScript program, got one that cannot be loaded ({str(error)[:120]}). "
                "Download it again."
            ) from error

    def forward(self, clips: Float[Tensor, "B 3 T 224 224"]) -> Float[Tensor, "B C"]:
        """Features before the softmax; colors in [-1, 1]."""
        return self.program(clips, rescale=False, resize=False, return_features=True)


def bicubic_clip(frames: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "1 3 T 224 224"]:
    """Frames as Consistent4D's script gives them to I3D: each channel resized bicubically in floating point."""
    resized = np.empty((len(frames), SIDE, SIDE, 3), np.float32)
    for frame, out in zip(frames, resized, strict=True):
        for channel in range(3):
            image = Image.fromarray(frame[..., channel].astype(np.float32))
            out[..., channel] = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return (torch.from_numpy(resized) / 127.5 - 1).permute(3, 0, 1, 2)[None].contiguous()


def bilinear_clip(frames: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "1 3 T 224 224"]:
    """Frames as scripts give them to StyleGAN-V's I3D: shorter side resized bilinearly, center cropped."""
    images = torch.from_numpy(frames.astype(np.float32) / 255).movedim(-1, 1)
    scale = SIDE / min(images.shape[-2:])
    size = [SIDE if side == min(images.shape[-2:]) else math.ceil(side * scale) for side in images.shape[-2:]]
    images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    top, left = ((side - SIDE) // 2 for side in images.shape[-2:])
    images = images[..., top : top + SIDE, left : left + SIDE]
    return ((images - 0.5) * 2).movedim(1, 0)[None].contiguous()


class _Unit(nn.Module):
    """Convolution with TensorFlow's padding, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels_in, channels_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(channels_out, eps=1e-5)

    def forward(self, maps: Tensor) -> Tensor:
        padded = _padded(maps, self.conv3d.kernel_size, self.conv3d.stride)
        return F.relu(self.bn(self.conv3d(padded)))


class _Mixed(nn.Module):
    """Inception module."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _Unit(channels, widths[0], 1, 1)
        self.b1a, self.b1b = _Unit(channels, widths[1], 1, 1), _Unit(widths[1], widths[2], 3, 1)
        self.b2a, self.b2b = _Unit(channels, widths[3], 1, 1), _Unit(widths[3], widths[4], 3, 1)
        self.b3b = _Unit(channels, widths[5], 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = F.max_pool3d(_padded(maps, (3, 3, 3), (1, 1, 1)), 3, 1)
        branches = (self.b0(maps), self.b1b(self.b1a(maps)), self.b2b(self.b2a(maps)), self.b3b(pooled))
        return torch.cat(branches, dim=1)


def _padded(maps: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zero padding as TensorFlow's SAME: the smaller half in front."""
    padding: list[int] = []
    for size, width, step in zip(maps.shape[2:], kernel, stride, strict=True):
        total = max(width - (size % step or step), 0)
        padding = [total // 2, total - total // 2, *padding]
    return F.pad(maps, padding)
