"""Density control: where Gaussians are added, split and removed while fitting (3D Gaussian splatting, Sec. 5.2).

Growth is by rank, as in STAG4D: a fixed share of the Gaussians whose screen positions are pulled hardest grows at each
event, so no threshold has to be tuned to the loss, the image size or the number of views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.geometry import quats_to_matrices
from ds4d.scene.parameters import Resampling
from ds4d.types import RawGaussians

_ROOM = 0.75  # inner units: half as far again as the ball that held the object in the frames that placed it


@dataclass(frozen=True)
class DensityConfig:
    """When and how much density changes. Lengths are inner world units (the object has radius 0.5).

    Attributes:
        every: steps between two events.
        start: share of the fit after which events begin.
        stop: share of the fit after which they end.
        grow_fraction: share of the Gaussians that grow at an event.
        max_gaussians: growth stops here.
        split_scale: a growing Gaussian larger than this is split in two, a smaller one is copied.
        prune_opacity: Gaussians less opaque are removed.
        prune_scale: Gaussians larger are removed.
    """

    every: int = 100
    start: float = 0.05
    stop: float = 0.7
    grow_fraction: float = 0.05
    max_gaussians: int = 30_000
    split_scale: float = 0.01
    prune_opacity: float = 0.01
    prune_scale: float = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, every="[1, inf)", start="[0, 1]", stop="[0, 1]", grow_fraction="[0, 1]")
        check_ranges(self, max_gaussians="[1, inf)", split_scale="(0, inf)")
        check_ranges(self, prune_opacity="[0, 1)", prune_scale="(0, inf)")


class DensityControl:
    """Gathers how hard Gaussians are pulled on screen, and turns that into a `Resampling`."""

    def __init__(self, config: DensityConfig, num_gaussians: int, device: torch.device) -> None:
        self.config = config
        self.reset(num_gaussians, device)

    def reset(self, num_gaussians: int, device: torch.device) -> None:
        """Forgets what was gathered and makes room for a new number of Gaussians."""
        self.grad2d = torch.zeros(num_gaussians, device=device)
        self.counts = torch.zeros(num_gaussians, device=device)

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics since the last event."""
        return {"grad2d": self.grad2d, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continues from these statistics."""
        self.grad2d = state["grad2d"].to(self.grad2d.device)
        self.counts = state["counts"].to(self.counts.device)

    def is_due(self, step: int, total: int) -> bool:
        """Whether an event follows step `step` (counted from 1) of `total`."""
        return step % self.config.every == 0 and self.config.start <= step / total <= self.config.stop

    @torch.no_grad()
    def observe(
        self, gradients: Float[Tensor, "*T V N 2"], radii: Int[Tensor, "*T V N 2"], size: tuple[int, int]
    ) -> None:
        """Adds the screen-space gradients of one step.

        Args:
            gradients: of the loss with respect to `means2d`, per pixel.
            radii: pixels; 0 where a Gaussian was not drawn.
            size: (width, height) of the images; gradients are counted per half image, so sizes can be mixed.
        """
        half = gradients.new_tensor([size[0] / 2, size[1] / 2])
        drawn = (radii > 0).all(-1)
        grad2d = (gradients * half).norm(dim=-1) * drawn
        self.grad2d += grad2d.flatten(0, -2).sum(0)
        self.counts += drawn.flatten(0, -2).sum(0)

    @torch.no_grad()
    def resampling(self, raw: RawGaussians, generator: torch.Generator) -> Resampling:
        """The next set: pruned of the faint, the huge and the unseen, with the hardest pulled copied or split."""
        sizes = raw.log_scales.exp().amax(-1)
        keep = (raw.opacity_logits.sigmoid() >= self.config.prune_opacity) & (sizes <= self.config.prune_scale)
        keep &= self.counts > 0  # what no image could show would stay as it is for ever
        if not keep.any():
            raise ValueError(
                "density control: at least one Gaussian must stay, but all were faint, huge or out of every image. "
                "Lower prune_opacity, or check that the masks and cameras belong together."
            )
        pull = torch.where(keep, self.grad2d / self.counts.clamp_min(1), -1.0)
        kept = int(keep.sum())
        growing = max(0, min(int(self.config.grow_fraction * kept), self.config.max_gaussians - kept))
        grown = pull.topk(growing).indices
        grown = grown[pull[grown] > 0]
        split = sizes[grown] > self.config.split_scale
        survivors = keep.clone()
        survivors[grown[split]] = False
        old = survivors.nonzero().squeeze(1)
        sources = torch.cat((old, grown[~split], grown[split], grown[split]))
        means, log_scales = raw.means[sources].clone(), raw.log_scales[sources].clone()
        halves = 2 * int(split.sum())
        if halves:
            means[-halves:] += _offsets(raw, sources[-halves:], generator)
            log_scales[-halves:] -= torch.tensor(1.6).log()
        fresh = torch.arange(len(sources), device=sources.device) >= len(old)
        return Resampling(sources, fresh, means, log_scales)


@torch.no_grad()
def prune_outliers(raw: RawGaussians, reach: Float[Tensor, " N"]) -> Resampling | None:
    """The set without Gaussians that leave the room in which the object moves; None if none does, or none stays.

    Where a part moves too fast to be followed, a few Gaussians are shot off at some time. The images of the fit see
    them faintly or not at all, so that nothing brings them back; from other sides they are specks in the air.

    Args:
        raw: the canonical set.
        reach: the farthest that each gets from the origin at any time, inner units.
    """
    astray = reach > _ROOM  # what is no number stays, to be found by whoever saves it
    if not astray.any() or astray.all():
        return None
    rows = (~astray).nonzero().squeeze(1)
    return Resampling(rows, torch.zeros_like(rows, dtype=torch.bool), raw.means[rows], raw.log_scales[rows])


def _offsets(raw: RawGaussians, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Random displacements distributed as the Gaussians themselves."""
    noise = torch.randn(len(rows), 3, generator=generator).to(raw.means)
    local = noise * raw.log_scales[rows].exp()
    return (quats_to_matrices(raw.quats[rows]) @ local[..., None]).squeeze(-1)
