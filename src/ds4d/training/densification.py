"""Densification: Gaussians are cloned, split and pruned during training (3D Gaussian splatting, Sec. 5.2).

Growth is by rank, as in STAG4D: at each event the fixed fraction of Gaussians with the largest mean screen-space
gradient grows, so no threshold has to be tuned to the loss, the image size or the number of views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.core import check_ranges, is_fused
from ds4d.geometry import quats_to_matrices
from ds4d.scene import SEEN_OPACITY, DynamicGaussians, Resampling
from ds4d.shapes import nearest_neighbors
from ds4d.training import densification_cuda
from ds4d.types import RawGaussians

_NEIGHBORS = 4
_APART = 6.0  # times the median distance of Gaussians from their neighbors
_APART_SCALES = 3.0  # times the Gaussian's largest standard deviation
_INVISIBLE = 1 / 255  # opacity below which no image of 8 bits shows a Gaussian
_MAX_DISTANCE = 0.75  # from the origin, normalized space: 1.5 times the radius of the object


@dataclass(frozen=True)
class DensificationConfig:
    """When and how Gaussians are cloned, split and pruned; lengths in normalized space (object radius 0.5).

    Attributes:
        every: steps between two densification events.
        start: fraction of training after which densification starts.
        stop: fraction of training after which densification stops.
        grow_fraction: fraction of the Gaussians that are cloned or split at an event.
        max_gaussians: maximum number of Gaussians; cloning and splitting stop there.
        split_scale: scale above which a growing Gaussian is split in two; smaller ones are cloned.
        prune_opacity: canonical opacity below which Gaussians are pruned.
        prune_scale: scale above which Gaussians are pruned.
        add_for_frames: where the motion of the object was tracked, add Gaussians for frames that are shown much worse
            than the others, up to `max_gaussians`.
        trim_lifetimes: where the motion of the object was tracked, end lives of Gaussians where they stick out of a
            view's mask, or are loose.
    """

    every: int = 100
    start: float = 0.05
    stop: float = 0.7
    grow_fraction: float = 0.05
    max_gaussians: int = 30_000
    split_scale: float = 0.01
    prune_opacity: float = 0.01
    prune_scale: float = 0.1
    add_for_frames: bool = True
    trim_lifetimes: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, every="[1, inf)", start="[0, 1]", stop="[0, 1]", grow_fraction="[0, 1]")
        check_ranges(self, max_gaussians="[1, inf)", split_scale="(0, inf)")
        check_ranges(self, prune_opacity="[0, 1)", prune_scale="(0, inf)")


class Densification:
    """Clones, splits and prunes Gaussians by their accumulated screen-space gradients.

    At each event:

    - Prune Gaussians with opacity below `prune_opacity`, with scale above `prune_scale`, or outside all images since
      the last event.
    - Select the fraction `grow_fraction` of the others with the largest mean gradient `grad2d / count`.
    - Clone those with scale at most `split_scale`; split larger ones in two.

    Opacities are not reset. `accumulate` is called after each backward pass, `densify_and_prune` when `is_due`, and
    `reset` once the Gaussians were replaced.
    """

    def __init__(self, config: DensificationConfig, num_gaussians: int, device: torch.device) -> None:
        self.config = config
        self._halves: dict[tuple[int, int], Tensor] = {}
        self.reset(num_gaussians, device)

    def reset(self, num_gaussians: int, device: torch.device) -> None:
        """Sets the accumulated gradients to zero, for a new number of Gaussians."""
        self.grad2d = torch.zeros(num_gaussians, device=device)
        self.count = torch.zeros(num_gaussians, device=device)

    def state_dict(self) -> dict[str, Tensor]:
        """The accumulated gradients and counts."""
        return {"grad2d": self.grad2d, "count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continues from accumulated gradients and counts."""
        self.grad2d = state["grad2d"].to(self.grad2d.device)
        self.count = state["count"].to(self.count.device)

    def is_due(self, step: int, total_steps: int) -> bool:
        """Whether an event follows this step (counted from 1)."""
        return step % self.config.every == 0 and self.config.start <= step / total_steps <= self.config.stop

    @torch.no_grad()
    def accumulate(
        self, gradients: Float[Tensor, "*T V N 2"], radii: Int[Tensor, "*T V N 2"], size: tuple[int, int]
    ) -> None:
        """Adds the screen-space gradients of one step: `add` of what `measure` returns."""
        if is_fused("density", gradients, self.grad2d):
            densification_cuda.add_gradients(gradients, radii, size, self.grad2d, self.count)
        else:
            self.add(*self.measure(gradients, radii, size))

    @torch.no_grad()
    def add(self, grad2d: Float[Tensor, " N"], count: Float[Tensor, " N"]) -> None:
        """Adds what `measure` has returned, possibly summed over processes."""
        self.grad2d += grad2d
        self.count += count

    @torch.no_grad()
    def measure(
        self, gradients: Float[Tensor, "*T V N 2"], radii: Int[Tensor, "*T V N 2"], size: tuple[int, int]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """The screen-space gradient of each Gaussian, summed over images, and the number of images that show it.

        Args:
            gradients: gradients of the loss with respect to `means2d`, per pixel.
            radii: projected radii in pixels; 0 where a Gaussian is not visible.
            size: (width, height) of the images in pixels; gradients are scaled to half images, so that steps of
                different image sizes add up.
        """
        if size not in self._halves:  # made once: each new tensor would wait for the GPU
            self._halves[size] = gradients.new_tensor([size[0] / 2, size[1] / 2])
        visible = (radii > 0).all(-1)
        norms = (gradients * self._halves[size]).norm(dim=-1) * visible
        return norms.flatten(0, -2).sum(0), visible.flatten(0, -2).sum(0).to(norms)

    @torch.no_grad()
    def densify_and_prune(
        self,
        raw: RawGaussians,
        generator: torch.Generator,
        fixed: int = 0,
        factors: Float[Tensor, " N"] | None = None,
    ) -> Resampling:
        """The next set of Gaussians.

        Args:
            raw: canonical Gaussians.
            generator: random generator for the positions of split Gaussians.
            fixed: number of Gaussians, the first ones, that stay as and where they are.
            factors: factor of each Gaussian's gradient, above 0; None leaves all as they are.

        Raises:
            ValueError: all Gaussians would be pruned.
        """
        scales = raw.log_scales.exp().amax(-1)
        keep = (raw.opacity_logits.sigmoid() >= self.config.prune_opacity) & (scales <= self.config.prune_scale)
        keep &= self.count > 0  # without gradients they would stay as they are forever
        keep[:fixed] = True
        if not keep.any():
            raise ValueError(
                "densification: at least one Gaussian must remain, but all are transparent, too large or outside all "
                "images. Lower --training.densification.prune-opacity, or check that masks and cameras fit together."
            )
        gradient = self.grad2d / self.count.clamp_min(1)
        gradient = torch.where(keep, gradient if factors is None else gradient * factors, -1.0)
        gradient[:fixed] = -1.0
        num_kept = int(keep.sum())
        wanted = int(self.config.grow_fraction * (num_kept - fixed))
        num_grown = max(0, min(wanted, self.config.max_gaussians - num_kept))
        grown = gradient.topk(num_grown).indices
        grown = grown[gradient[grown] > 0]
        is_split = scales[grown] > self.config.split_scale
        cloned, split = grown[~is_split], grown[is_split]
        keep[split] = False
        old = keep.nonzero().squeeze(1)
        sources = torch.cat((old, cloned, split, split))
        means, log_scales = raw.means[sources].clone(), raw.log_scales[sources].clone()
        if halves := 2 * len(split):
            means[-halves:] += _offsets(raw, sources[-halves:], generator)
            log_scales[-halves:] -= torch.tensor(1.6).log()
        is_new = torch.arange(len(sources), device=sources.device) >= len(old)
        return Resampling(sources, is_new, means, log_scales)


@torch.no_grad()
def prune_outliers(
    raw: RawGaussians,
    max_distances: Float[Tensor, " N"],
    fixed: int = 0,
    isolated: Bool[Tensor, " N"] | None = None,
) -> Resampling | None:
    """Prunes Gaussians that leave the space around the object at some time; None if none does, or all do.

    Where a part moves too fast to be followed, a few Gaussians are thrown far away. The training views hardly see them,
    so nothing brings them back; in other views they are floaters.

    Args:
        raw: canonical Gaussians.
        max_distances: largest distance of each Gaussian from the origin at any time, normalized space.
        fixed: number of Gaussians, the first ones, that stay.
        isolated: others to be pruned (`isolated_gaussians`), if any.
    """
    outliers = max_distances > _MAX_DISTANCE  # NaN stays, and is found when the scene is saved
    if isolated is not None:
        outliers |= isolated
    outliers[:fixed] = False
    if not outliers.any() or outliers.all():
        return None
    rows = (~outliers).nonzero().squeeze(1)
    return Resampling(rows, torch.zeros_like(rows, dtype=torch.bool), raw.means[rows], raw.log_scales[rows])


@torch.no_grad()
def isolated_gaussians(scene: DynamicGaussians) -> Bool[Tensor, " N"]:
    """Gaussians that are apart from all others in half of the frames that show them, farther than they are long.

    What is needed in a few frames far from the middle one may hang in the air in all others. Gaussians that no frame
    shows are among them.

    Args:
        scene: the fitted scene.
    """
    num_shown, num_seen, num_apart = torch.zeros(3, scene.num_gaussians, device=scene.device)
    for time in torch.tensor(scene.timeline.times, device=scene.device).split(1):
        gaussians = scene.at(time)
        num_shown += ~(gaussians.opacities[0] < _INVISIBLE)  # NaN stays, too
        rows = (gaussians.opacities[0] >= SEEN_OPACITY).nonzero().squeeze(1)
        if len(rows) < 2:
            continue
        means = gaussians.means[0, rows]
        distances = (means[nearest_neighbors(means, _NEIGHBORS)] - means[:, None]).norm(dim=-1).mean(1)
        is_far = distances > _APART * distances.median()
        num_seen[rows] += 1
        num_apart[rows] += is_far & (distances > _APART_SCALES * gaussians.scales[0, rows].amax(-1))
    return (num_shown == 0) | ((num_seen > 0) & (num_apart >= num_seen / 2))


def _offsets(raw: RawGaussians, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Random displacements distributed as the Gaussians themselves."""
    noise = torch.randn(len(rows), 3, generator=generator).to(raw.means)
    local = noise * raw.log_scales[rows].exp()
    return (quats_to_matrices(raw.quats[rows]) @ local[..., None]).squeeze(-1)
