"""Zero123-XL: a diffusion model of an object's image from another camera, given one image and the relative pose.

The public files are for a diffusers pipeline that diffusers does not contain, so its parts are loaded one by one.
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
_POSE_SIZE = 4  # numbers of a relative pose


class CameraProjection(nn.Module):
    """Projects an image's CLIP embedding and a relative pose to the token that the UNet attends to."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width + _POSE_SIZE, width)

    def forward(self, embeddings: Float[Tensor, "B C"], poses: Float[Tensor, "B 4"]) -> Float[Tensor, "B 1 C"]:
        """Computes one token per image."""
        return self.proj(torch.cat((embeddings, poses.to(embeddings)), dim=-1))[:, None]


@dataclass(frozen=True)
class Condition:
    """Encoded condition images.

    Attributes:
        embeddings: CLIP image embeddings.
        latents: latents of the VAE, unscaled.
    """

    embeddings: Float[Tensor, "B C"]
    latents: Float[Tensor, "B L h w"]


class Zero123(nn.Module):
    """The frozen model: square images of `image_size` pixels, colors in [0, 1]; inputs and outputs are float32.

    Args:
        projection: projection of embedding and pose.
        image_encoder: CLIP image encoder with projection (transformers).
        vae: variational autoencoder (diffusers).
        unet: denoising network (diffusers).
        alphas_cumprod: fraction of the signal's energy at each timestep (alphabar of the scheduler).
    """

    alphas_cumprod: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        projection: CameraProjection,
        image_encoder: Any,
        vae: Any,
        unet: Any,
        alphas_cumprod: Float[Tensor, " timesteps"],
    ) -> None:
        super().__init__()
        self.projection = projection
        self.image_encoder = image_encoder
        self.vae = vae
        self.unet = unet
        self.register_buffer("alphas_cumprod", alphas_cumprod.float())
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])
        self.eval().requires_grad_(False)

    @property
    def image_size(self) -> int:
        """Height and width of the images, pixels."""
        return self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents of an image."""
        return (self.vae.config.latent_channels, self.unet.config.sample_size, self.unet.config.sample_size)

    @property
    def num_timesteps(self) -> int:
        """Number of diffusion timesteps."""
        return len(self.alphas_cumprod)

    @torch.no_grad()
    def encode_condition(self, images: Float[Tensor, "B 3 S S"]) -> Condition:
        """Encodes condition images."""
        side = self.image_encoder.config.image_size
        small = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        pixels = (small - self.mean) / self.std
        embeddings = self.image_encoder(pixel_values=pixels.to(self.image_encoder.dtype)).image_embeds
        return Condition(embeddings.float(), self._latents(images))

    def encode(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B L h w"]:
        """Encodes images as scaled latents, to which noise can be added; differentiable."""
        return self._latents(images) * self.vae.config.scaling_factor

    @torch.no_grad()
    def predict_noise(
        self,
        noisy: Float[Tensor, "B L h w"],
        timesteps: Int[Tensor, " B"],
        condition: Condition,
        poses: Float[Tensor, "B 4"],
        *,
        scale: float,
    ) -> Float[Tensor, "B L h w"]:
        """Predicts the noise in latents with classifier-free guidance; token and latents are 0 without a condition.

        Args:
            noisy: scaled latents with noise.
            timesteps: diffusion timesteps, in [0, num_timesteps - 1].
            condition: condition images.
            poses: poses relative to the conditions (`relative_poses`).
            scale: guidance scale; 1 is the conditional prediction.
        """
        dtype = self.unet.dtype
        tokens = self.projection(condition.embeddings.to(dtype), poses)
        tokens = torch.cat((torch.zeros_like(tokens), tokens))
        condition_latents = torch.cat((torch.zeros_like(condition.latents), condition.latents))
        latents = torch.cat((torch.cat((noisy, noisy)), condition_latents), dim=1).to(dtype)
        predicted = self.unet(latents, torch.cat((timesteps, timesteps)), encoder_hidden_states=tokens).sample.float()
        unconditional, conditional = predicted.chunk(2)
        return unconditional + scale * (conditional - unconditional)

    @staticmethod
    def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> "Zero123":
        """Loads the public files (`ds4d.weights.MODELS["zero123-xl"]`).

        Args:
            folder: folder of the complete model.
            dtype: data type of the networks' weights.

        Raises:
            ImportError: diffusers or transformers is not installed.
            ValueError: a part is damaged, belongs to another network, or does not match the others.
        """
        model = MODELS["zero123-xl"]
        names = ("image_encoder", "vae", "unet", "scheduler")
        image_encoder, vae, unet, scheduler = (load_part(model.part(name), folder, dtype=dtype) for name in names)
        projection = _load_projection(folder).to(dtype)
        made = (projection.proj.out_features, unet.config.in_channels, scheduler.config.prediction_type)
        wanted = (image_encoder.config.projection_dim, 2 * vae.config.latent_channels, "epsilon")
        for what, got, want in zip(_FITTING, made, wanted, strict=True):
            if got != want:
                raise ValueError(f"Zero123-XL in {folder}: {what} must be {want}, got {got}. Download all parts again.")
        return Zero123(projection, image_encoder, vae, unet, scheduler.alphas_cumprod)

    def _latents(self, images: Tensor) -> Tensor:
        # The mode of the VAE's narrow distribution: a sample would only add noise to the gradient.
        return self.vae.encode((2 * images - 1).to(self.vae.dtype)).latent_dist.mode().float()


_FITTING = ("outputs of clip_camera_projection", "in_channels of unet", "prediction_type of scheduler")


def _load_projection(folder: Path) -> CameraProjection:
    file = weights_file(MODELS["zero123-xl"].part("clip_camera_projection"), folder)
    assert file is not None  # the folder is complete
    weights = read_tensors(file)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    width = len(weights.get("proj.bias", ()))
    if shapes != {"proj.weight": (width, width + _POSE_SIZE), "proj.bias": (width,)}:
        raise ValueError(
            f"{file} must contain proj.weight [C, C + {_POSE_SIZE}] and proj.bias [C], got {shapes}. Download it again."
        )
    projection = CameraProjection(width)
    projection.load_state_dict(weights)
    return projection
