"""Zero123-XL, part by part: what it would paint when a camera moves, told by how it takes noise away.

The public files are those of a diffusers pipeline of another name, which diffusers itself refuses; each part is of a
class it knows, but for the projection of the camera.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.weights import MODELS, load_part, read_tensors, weights_file

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
_POSE = 4  # numbers that tell how the camera moved


class CameraProjection(nn.Module):
    """An image's CLIP embedding and a relative pose become the one token that the UNet attends to."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width + _POSE, width)

    def forward(self, embeddings: Float[Tensor, "B C"], poses: Float[Tensor, "B 4"]) -> Float[Tensor, "B 1 C"]:
        """The tokens."""
        return self.proj(torch.cat((embeddings, poses.to(embeddings)), dim=-1))[:, None]


@dataclass(frozen=True)
class Condition:
    """What Zero123 knows of the images that it starts from.

    Attributes:
        embeddings: CLIP's.
        latents: the VAE's, as they come out of it.
    """

    embeddings: Float[Tensor, "B C"]
    latents: Float[Tensor, "B L h w"]


class Zero123(nn.Module):
    """Frozen. Images are squares of `image_size` pixels with colors in [0, 1]; numbers go in and out in float32.

    Args:
        projection: of the camera.
        image_encoder: CLIP's, with its projection (transformers).
        vae: image to latents (diffusers).
        unet: takes noise away (diffusers).
        alphas: share of the signal's energy that is left after each step of noise (the scheduler's alphabar).
    """

    alphas: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, projection: CameraProjection, image_encoder: Any, vae: Any, unet: Any, alphas: Float[Tensor, " steps"]
    ) -> None:
        super().__init__()
        self.projection = projection
        self.image_encoder = image_encoder
        self.vae = vae
        self.unet = unet
        self.register_buffer("alphas", alphas.float())
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])
        self.eval().requires_grad_(False)

    @property
    def image_size(self) -> int:
        """Pixels along each side of an image."""
        return self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image's latents."""
        return (self.vae.config.latent_channels, self.unet.config.sample_size, self.unet.config.sample_size)

    @property
    def num_steps(self) -> int:
        """Of noise."""
        return len(self.alphas)

    @torch.no_grad()
    def look_at(self, images: Float[Tensor, "B 3 S S"]) -> Condition:
        """What it knows of images to start from."""
        side = self.image_encoder.config.image_size
        small = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        pixels = (small - self.mean) / self.std
        embeddings = self.image_encoder(pixel_values=pixels.to(self.image_encoder.dtype)).image_embeds
        return Condition(embeddings.float(), self._latents(images))

    def encode(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B L h w"]:
        """Latents of images, at the scale at which noise is added; gradients flow back to the images."""
        return self._latents(images) * self.vae.config.scaling_factor

    @torch.no_grad()
    def predict_noise(
        self,
        noisy: Float[Tensor, "B L h w"],
        steps: Int[Tensor, " B"],
        condition: Condition,
        poses: Float[Tensor, "B 4"],
        *,
        scale: float,
    ) -> Float[Tensor, "B L h w"]:
        """The noise that it sees in latents, given an image and how the camera moved from it.

        Without a condition, token and latents are 0; the prediction goes on from there through the one with a condition
        (classifier-free guidance).

        Args:
            noisy: scaled latents with noise.
            steps: how much noise, from 0 to `num_steps` - 1.
            condition: of the images.
            poses: of `relative_poses`.
            scale: how far it goes, 1 to stop at the condition.
        """
        dtype = self.unet.dtype
        tokens = self.projection(condition.embeddings.to(dtype), poses)
        tokens = torch.cat((torch.zeros_like(tokens), tokens))
        beside = torch.cat((torch.zeros_like(condition.latents), condition.latents))
        latents = torch.cat((torch.cat((noisy, noisy)), beside), dim=1).to(dtype)
        predicted = self.unet(latents, torch.cat((steps, steps)), encoder_hidden_states=tokens).sample.float()
        without, given = predicted.chunk(2)
        return without + scale * (given - without)

    @staticmethod
    def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> "Zero123":
        """Reads a folder that holds the public files (`ds4d.weights.MODELS["zero123-xl"]`).

        Args:
            folder: the model's.
            dtype: of the networks' weights.

        Raises:
            ImportError: diffusers or transformers is not installed.
            ValueError: a part is damaged, belongs to another network, or does not fit the others.
        """
        model = MODELS["zero123-xl"]
        names = ("image_encoder", "vae", "unet", "scheduler")
        image_encoder, vae, unet, scheduler = (load_part(model.part(name), folder, dtype=dtype) for name in names)
        projection = _load_projection(folder).to(dtype)
        made = (projection.proj.out_features, unet.config.in_channels, scheduler.config.prediction_type)
        wanted = (image_encoder.config.projection_dim, 2 * vae.config.latent_channels, "epsilon")
        for what, got, want in zip(_FITTING, made, wanted, strict=True):
            if got != want:
                raise ValueError(
                    f"Zero123-XL in {folder}: {what} must be {want}, got {got}. Download all its parts anew."
                )
        return Zero123(projection, image_encoder, vae, unet, scheduler.alphas_cumprod)

    def _latents(self, images: Tensor) -> Tensor:
        # The middle of the VAE's narrow distribution: a draw from it would only add noise to the gradient.
        return self.vae.encode((2 * images - 1).to(self.vae.dtype)).latent_dist.mode().float()


_FITTING = ("outputs of clip_camera_projection", "in_channels of unet", "prediction_type of scheduler")


def _load_projection(folder: Path) -> CameraProjection:
    file = weights_file(MODELS["zero123-xl"].part("clip_camera_projection"), folder)
    assert file is not None  # a folder that lies whole holds it
    weights = read_tensors(file)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    width = len(weights.get("proj.bias", ()))
    if shapes != {"proj.weight": (width, width + _POSE), "proj.bias": (width,)}:
        raise ValueError(
            f"weights {file} must hold proj.weight [C, C + {_POSE}] and proj.bias [C], got {shapes}. Download it again."
        )
    projection = CameraProjection(width)
    projection.load_state_dict(weights)
    return projection
