"""Denoising the sheets of all frames side by side: Euler-ancestral, guided, with the same noise for every frame."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
from ds4d.multiview.zero123plus.networks import Condition, Zero123PlusNetworks
from ds4d.multiview.zero123plus.reference_attention import ReferenceUnet


def sample_sheets(
    networks: Zero123PlusNetworks,
    condition: Condition,
    generator: torch.Generator,
    *,
    height: int,
    width: int,
    steps: int,
    guidance: float,
    anchor: int | None,
    frames_at_once: int,
) -> Float[Tensor, "T C h w"]:
    """Latents of one sheet per frame.

    All frames take a step before any takes the next: so the anchor's tokens are needed for one step only (about 0.1 GB
    in half precision for a sheet of 640 x 960, where keeping those of 75 steps takes 8 GB), and are computed once.

    Args:
        networks: whose UNet denoises.
        condition: of T frames.
        generator: on the CPU, so that a seed means the same everywhere.
        height: of the sheets, pixels.
        width: of the sheets, pixels.
        steps: of the schedule.
        guidance: how far the output goes from that without condition to that with it and beyond (1: no further).
        anchor: the frame that all others look at; None: each looks at itself.
        frames_at_once: in the UNet; halved for as long as a GPU has too little memory.
    """
    _, count, channels = condition.latents.shape[:3]
    device, scheduler, stride = networks.device, networks.scheduler, networks.latent_stride
    scheduler.set_timesteps(steps)
    noise = torch.randn(1, channels, height // stride, width // stride, generator=generator)
    sheets = (noise * scheduler.init_noise_sigma).to(device).repeat(count, 1, 1, 1)
    seed = int(torch.randint(2**62, (), generator=generator))
    twins = [torch.Generator().manual_seed(seed) for _ in range(count)]  # equal noise for every frame
    with networks.on_device(networks.unet):
        unet = _GuidedUnet(networks, condition, guidance, anchor, frames_at_once)
        schedule = list(zip(scheduler.timesteps, scheduler.sigmas, strict=False))
        for timestep, sigma in tracked(schedule, "denoising the views"):
            noise = torch.randn(2, 1, *condition.latents.shape[2:], generator=generator).to(device)
            references = scheduler.scale_model_input(condition.latents.float() + sigma * noise, timestep)
            outputs = unet(scheduler.scale_model_input(sheets, timestep), references, timestep)
            sheets = scheduler.step(outputs, timestep, sheets, generator=twins).prev_sample
    return sheets


class _GuidedUnet:
    """The UNet's output for all frames, with guidance, a few frames at a time."""

    def __init__(
        self,
        networks: Zero123PlusNetworks,
        condition: Condition,
        guidance: float,
        anchor: int | None,
        frames_at_once: int,
    ) -> None:
        self._unet = ReferenceUnet(networks.unet, anchored=anchor is not None)
        self._dtype, self._embeddings, self._guidance = networks.dtype, condition.embeddings, guidance
        # The anchor leads.
        self._order = sorted(range(condition.latents.shape[1]), key=lambda frame: frame != anchor)
        self._at_once = frames_at_once

    def __call__(
        self, sheets: Float[Tensor, "T C h w"], references: Float[Tensor, "2 T C y x"], timestep: Tensor
    ) -> Float[Tensor, "T C h w"]:
        """The output in single precision."""
        self._unet.start_step()
        outputs, waiting = torch.empty_like(sheets), self._order
        while waiting:
            frames = waiting[: self._at_once]
            try:
                outputs[frames] = self._few(sheets[frames], references[:, frames], frames, timestep)
            except torch.OutOfMemoryError:
                if self._at_once == 1:
                    raise
                self._at_once //= 2
                continue
            waiting = waiting[len(frames) :]
        return outputs

    def _few(
        self, sheets: Float[Tensor, "B C h w"], references: Float[Tensor, "2 B C y x"], frames: list[int], time: Tensor
    ) -> Float[Tensor, "B C h w"]:
        both = sheets.expand(2, *sheets.shape).flatten(0, 1).to(self._dtype)
        embeddings = self._embeddings[:, frames].flatten(0, 1)
        output = self._unet(both, references.flatten(0, 1).to(self._dtype), time, embeddings)
        without, conditioned = output.float().chunk(2)
        return without + self._guidance * (conditioned - without)
