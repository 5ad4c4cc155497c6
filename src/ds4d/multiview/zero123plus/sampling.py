"""Sampling of the image grids of all frames: Euler ancestral with guidance, the same noise for all frames."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
from ds4d.multiview.zero123plus.networks import Condition, Zero123PlusNetworks
from ds4d.multiview.zero123plus.reference_attention import ReferenceUnet


def sample_grids(
    networks: Zero123PlusNetworks,
    condition: Condition,
    generator: torch.Generator,
    *,
    height: int,
    width: int,
    steps: int,
    guidance: float,
    anchor: int | None,
    batch_size: int,
) -> Float[Tensor, "T C h w"]:
    """Samples the latents of one image grid per frame.

    All frames take a step before any takes the next, so the tokens of the anchor are kept for one step only: about
    0.1 GB in half precision for a grid of 640 x 960, instead of 8 GB for 75 steps.

    Args:
        networks: networks of Zero123++.
        condition: condition on T frames.
        generator: random generator on the CPU, so that a seed means the same on every device.
        height: height of the grids, pixels.
        width: width of the grids, pixels.
        steps: number of denoising steps.
        guidance: scale of classifier-free guidance; 1 turns it off.
        anchor: index of the anchor frame; None samples every frame independently.
        batch_size: number of frames per batch, halved while GPU memory is short.
    """
    _, count, channels = condition.latents.shape[:3]
    device, scheduler, stride = networks.device, networks.scheduler, networks.latent_stride
    scheduler.set_timesteps(steps)
    noise = torch.randn(1, channels, height // stride, width // stride, generator=generator)
    grids = (noise * scheduler.init_noise_sigma).to(device).repeat(count, 1, 1, 1)
    seed = int(torch.randint(2**62, (), generator=generator))
    generators = [torch.Generator().manual_seed(seed) for _ in range(count)]  # equal noise for all frames
    with networks.on_device(networks.unet):
        unet = _GuidedUnet(networks, condition, guidance, anchor, batch_size)
        schedule = list(zip(scheduler.timesteps, scheduler.sigmas, strict=False))
        for timestep, sigma in tracked(schedule, "denoising the views"):
            noise = torch.randn(2, 1, *condition.latents.shape[2:], generator=generator).to(device)
            references = scheduler.scale_model_input(condition.latents.float() + sigma * noise, timestep)
            outputs = unet(scheduler.scale_model_input(grids, timestep), references, timestep)
            grids = scheduler.step(outputs, timestep, grids, generator=generators).prev_sample
    return grids


class _GuidedUnet:
    """Output of the UNet for all frames, with guidance, in batches."""

    def __init__(
        self,
        networks: Zero123PlusNetworks,
        condition: Condition,
        guidance: float,
        anchor: int | None,
        batch_size: int,
    ) -> None:
        self._unet = ReferenceUnet(networks.unet, anchored=anchor is not None)
        self._dtype, self._embeddings, self._guidance = networks.dtype, condition.embeddings, guidance
        # The anchor comes first.
        self._order = sorted(range(condition.latents.shape[1]), key=lambda frame: frame != anchor)
        self._batch_size = batch_size

    def __call__(
        self, grids: Float[Tensor, "T C h w"], references: Float[Tensor, "2 T C y x"], timestep: Tensor
    ) -> Float[Tensor, "T C h w"]:
        """Output in single precision."""
        self._unet.start_step()
        outputs, remaining = torch.empty_like(grids), self._order
        while remaining:
            frames = remaining[: self._batch_size]
            try:
                outputs[frames] = self._run_batch(grids[frames], references[:, frames], frames, timestep)
            except torch.OutOfMemoryError:
                if self._batch_size == 1:
                    raise
                self._batch_size //= 2
                continue
            remaining = remaining[len(frames) :]
        return outputs

    def _run_batch(
        self, grids: Float[Tensor, "B C h w"], references: Float[Tensor, "2 B C y x"], frames: list[int], time: Tensor
    ) -> Float[Tensor, "B C h w"]:
        both = grids.expand(2, *grids.shape).flatten(0, 1).to(self._dtype)
        embeddings = self._embeddings[:, frames].flatten(0, 1)
        output = self._unet(both, references.flatten(0, 1).to(self._dtype), time, embeddings)
        without, conditioned = output.float().chunk(2)
        return without + self._guidance * (conditioned - without)
