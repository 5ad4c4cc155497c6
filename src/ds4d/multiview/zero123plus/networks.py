"""The networks of Zero123++, loaded part by part from its public folder layout."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.core import tracked
from ds4d.weights import PretrainedModel, load_part, read_settings

# Scale and shift of latents and colors for the noise schedule, from the public description of the authors.
_LATENT_SHIFT, _LATENT_SCALE = 0.22, 0.75
_COLOR_SCALE = 0.5 / 0.8
_PIPELINE = "model_index.json"  # holds the ramping coefficients


@dataclass(frozen=True)
class Condition:
    """Condition of the UNet on T frames, first the unconditional half, then the conditional one.

    Attributes:
        latents: latents of an empty image, and of the frames.
        embeddings: embeddings of the empty text, without and with the image embeddings of the frames.
    """

    latents: Float[Tensor, "2 T C h w"]
    embeddings: Float[Tensor, "2 T tokens D"]


class Zero123PlusNetworks:
    """All parts of one Zero123++.

    Args:
        model: version, an entry of `ds4d.weights.MODELS`.
        folder: folder of the weights.
        device: compute device.
        dtype: data type of the weights.
        offload: keep each network in main memory while it is not used.

    Raises:
        ImportError: diffusers or transformers is not installed.
        ValueError: a part is damaged or belongs to another model.
    """

    def __init__(
        self, model: PretrainedModel, folder: Path, device: torch.device, *, dtype: torch.dtype, offload: bool
    ) -> None:
        self.device, self.dtype, self.offload = device, dtype, offload
        loaded = {part.folder: load_part(part, folder, dtype=dtype) for part in model.parts if part.loader}
        self.vae, self.unet = loaded["vae"], loaded["unet"]
        self.text_encoder, self.vision_encoder = loaded["text_encoder"], loaded["vision_encoder"]
        self.tokenizer = loaded["tokenizer"]
        self.for_vae, self.for_vision = loaded["feature_extractor_vae"], loaded["feature_extractor_clip"]
        scheduler = loaded["scheduler"]
        # With few steps the last timesteps matter: the schedule ends on them.
        self.scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")
        self.folder = folder
        self.ramp = torch.tensor(read_settings(folder / _PIPELINE).get("ramping_coefficients", []))

    @property
    def latent_stride(self) -> int:
        """Pixels of the image per cell of the latents, along an axis."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @contextmanager
    def on_device(self, *networks: Any) -> Generator[None, None, None]:
        """Moves networks to the device, and back afterwards if they are offloaded."""
        for network in networks:
            network.to(self.device)
        yield
        if self.offload:
            for network in networks:
                network.to("cpu")

    def encode(self, frames: Sequence[UInt8[np.ndarray, "S S 3"]], generator: torch.Generator) -> Condition:
        """The condition on frames.

        Args:
            frames: square images over gray.
            generator: random generator on the CPU; all frames get the same noise for sampling the latents.
        """
        with self.on_device(self.vae, self.vision_encoder, self.text_encoder):
            empty = self.vae.encode(torch.zeros_like(self._prepared(self.for_vae, frames[0]))).latent_dist
            noise = torch.randn(empty.mean.shape, generator=generator).to(empty.mean)
            text = self._encode_empty_text()
            latents, embeddings = [], []
            for frame in frames:
                posterior = self.vae.encode(self._prepared(self.for_vae, frame)).latent_dist
                latents.append(posterior.mean + posterior.std * noise)
                image = self.vision_encoder(self._prepared(self.for_vision, frame)).image_embeds
                embeddings.append(text + self.ramp.to(text)[:, None] * image[:, None])
        unconditional = empty.mean + empty.std * noise
        return Condition(
            torch.stack((unconditional.expand(len(frames), -1, -1, -1), torch.cat(latents))),
            torch.stack((text.expand(len(frames), -1, -1), torch.cat(embeddings))),
        )

    def decode(self, latents: Float[Tensor, "T C h w"]) -> Generator[Float[Tensor, "3 H W"], None, None]:
        """The image grids in [0, 1], one by one."""
        with self.on_device(self.vae):
            for latent in tracked(latents.to(self.dtype), "decoding the views"):
                unscaled = (latent / _LATENT_SCALE + _LATENT_SHIFT) / self.vae.config.scaling_factor
                grid = self.vae.decode(unscaled[None]).sample[0].float()
                yield (grid / _COLOR_SCALE / 2 + 0.5).clamp(0, 1)

    def _encode_empty_text(self) -> Float[Tensor, "1 tokens D"]:
        tokens = self.tokenizer(
            "", padding="max_length", max_length=self.tokenizer.model_max_length, return_tensors="pt"
        ).input_ids
        text = self.text_encoder(tokens.to(self.device)).last_hidden_state
        if text.shape[1] != len(self.ramp):
            raise ValueError(
                f"ramping_coefficients of {self.folder / _PIPELINE} must be one per text token, got {len(self.ramp)} "
                f"for {text.shape[1]}. Download all files from one source."
            )
        return text

    def _prepared(self, preparation: Any, frame: UInt8[np.ndarray, "S S 3"]) -> Float[Tensor, "1 3 s s"]:
        return preparation(images=frame, return_tensors="pt").pixel_values.to(self.device, self.dtype)
