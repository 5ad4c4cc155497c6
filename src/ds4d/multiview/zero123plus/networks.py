"""The networks of Zero123++, read part by part from its public folder layout, and what they make of an image."""

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

# The authors move latents and colors to where the noise schedule expects them; from their public description.
_LATENT_SHIFT, _LATENT_SCALE = 0.22, 0.75
_COLOR_SCALE = 0.5 / 0.8
_PIPELINE = "model_index.json"  # where the ramp is


@dataclass(frozen=True)
class Condition:
    """What the networks know of T frames; first without them, then with them.

    Attributes:
        latents: of nothing, and of the frames.
        embeddings: of the empty text, and of it with the frames' images added along the ramp.
    """

    latents: Float[Tensor, "2 T C h w"]
    embeddings: Float[Tensor, "2 T tokens D"]


class Zero123PlusNetworks:
    """All parts of one Zero123++.

    Args:
        model: which; an entry of `ds4d.weights.MODELS`.
        folder: holds it whole.
        device: where the networks work.
        dtype: of their weights.
        offload: whether each is on the device only while it works.

    Raises:
        ImportError: diffusers or transformers are not installed.
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
        # With as few steps, the last timesteps matter: the schedule ends on them.
        self.scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")
        self.folder = folder
        self.ramp = torch.tensor(read_settings(folder / _PIPELINE).get("ramping_coefficients", []))

    @property
    def latent_stride(self) -> int:
        """Pixels along one side of a latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @contextmanager
    def on_device(self, *networks: Any) -> Generator[None, None, None]:
        """Holds networks on the device, and brings them back afterwards where memory is to be spared."""
        for network in networks:
            network.to(self.device)
        yield
        if self.offload:
            for network in networks:
                network.to("cpu")

    def encode(self, frames: Sequence[UInt8[np.ndarray, "S S 3"]], generator: torch.Generator) -> Condition:
        """What the networks know of frames.

        Args:
            frames: square images over gray.
            generator: on the CPU; what is drawn for sampling the latents is the same for every frame.
        """
        with self.on_device(self.vae, self.vision_encoder, self.text_encoder):
            nothing = self.vae.encode(torch.zeros_like(self._prepared(self.for_vae, frames[0]))).latent_dist
            noise = torch.randn(nothing.mean.shape, generator=generator).to(nothing.mean)
            text = self._encode_nothing_said()
            latents, embeddings = [], []
            for frame in frames:
                posterior = self.vae.encode(self._prepared(self.for_vae, frame)).latent_dist
                latents.append(posterior.mean + posterior.std * noise)
                image = self.vision_encoder(self._prepared(self.for_vision, frame)).image_embeds
                embeddings.append(text + self.ramp.to(text)[:, None] * image[:, None])
        unconditional = nothing.mean + nothing.std * noise
        return Condition(
            torch.stack((unconditional.expand(len(frames), -1, -1, -1), torch.cat(latents))),
            torch.stack((text.expand(len(frames), -1, -1), torch.cat(embeddings))),
        )

    def decode(self, latents: Float[Tensor, "T C h w"]) -> Generator[Float[Tensor, "3 H W"], None, None]:
        """The sheets in [0, 1], one after the other."""
        with self.on_device(self.vae):
            for latent in tracked(latents.to(self.dtype), "decoding the views"):
                unscaled = (latent / _LATENT_SCALE + _LATENT_SHIFT) / self.vae.config.scaling_factor
                sheet = self.vae.decode(unscaled[None]).sample[0].float()
                yield (sheet / _COLOR_SCALE / 2 + 0.5).clamp(0, 1)

    def _encode_nothing_said(self) -> Float[Tensor, "1 tokens D"]:
        tokens = self.tokenizer(
            "", padding="max_length", max_length=self.tokenizer.model_max_length, return_tensors="pt"
        ).input_ids
        text = self.text_encoder(tokens.to(self.device)).last_hidden_state
        if text.shape[1] != len(self.ramp):
            raise ValueError(
                f"ramping_coefficients of {self.folder / _PIPELINE} must be one per text token, got {len(self.ramp)} "
                f"for {text.shape[1]}. Download the folder's files from one place."
            )
        return text

    def _prepared(self, preparation: Any, frame: UInt8[np.ndarray, "S S 3"]) -> Float[Tensor, "1 3 s s"]:
        return preparation(images=frame, return_tensors="pt").pixel_values.to(self.device, self.dtype)
