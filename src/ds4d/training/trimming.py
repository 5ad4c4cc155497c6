"""Lives of Gaussians that end where they stick out of the object's silhouettes, or are loose beside it.

Where an object moves far, single Gaussians are carried or stretched out of it in some frames. They are thin, faint or
few, so that the losses of images hardly move them: from other sides they are needles and specks beside the object. A
life is one stretch of time: the one is kept in which a Gaussian shows most.
"""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import project_points, quats_to_matrices
from ds4d.scene import SEEN_OPACITY, DynamicGaussians, endless_lifetimes
from ds4d.scene.lifetimes import FOREVER
from ds4d.shapes import nearest_neighbors
from ds4d.types import Gaussians, MultiViewVideo

# Masks are grown by this fraction of the height of the image, as coverage is soft and generated views disagree.
_GROWN = 3 / 256
_FAINT = 0.01  # opacity below which nobody sees what sticks out
_TIP = 2.0  # standard deviations from the center to the ends of a Gaussian's longest axis
_NEIGHBORS = 4
_GAP = 4.0  # times the median distance of Gaussians from their neighbors: the least gap around loose ones
_VOXELS = 128  # along the longest side, at most: Gaussians may lie on one another
_FEW = 0.005  # fraction of the Gaussians that a frame shows; more of them are a part of the object
_NEVER = (-FOREVER, -0.5 * FOREVER)  # a life before all frames, of what is wrong in each frame that shows it


@torch.no_grad()
def trimmed_lifetimes(scene: DynamicGaussians, video: MultiViewVideo) -> Float[Tensor, "N 2"] | None:
    """Lifetimes of all Gaussians without the frames in which they stick out of a mask or are loose.

    Args:
        scene: scene whose Gaussians may stick out.
        video: multi-view video with cameras in normalized space. Pixels without weight, and those beside an image, say
            nothing.

    Returns:
        Births and deaths in seconds, on the CPU; None if nothing is to be changed. Gaussians that are wrong wherever
        they show have lives that no frame is in.
    """
    opacities, wrong = [], []
    for frame in range(video.num_times):
        gaussians = scene.at(video.times[frame : frame + 1].to(scene.device)).to("cpu")
        opacities.append(gaussians.opacities[0])
        wrong.append(_stick_out(gaussians, video, frame) | _are_loose(gaussians))
    shown = torch.stack(opacities)
    out = torch.stack(wrong) & (shown >= _FAINT)
    if not out.any():
        return None
    before = scene.gaussians.lifetimes
    lifetimes = endless_lifetimes(scene.num_gaussians) if before is None else before.cpu().clone()
    edges = _edges(video)
    for row in out.any(0).nonzero().squeeze(1).tolist():
        birth, death = _best_life(shown[:, row], out[:, row], edges)
        life = (max(birth, float(lifetimes[row, 0])), min(death, float(lifetimes[row, 1])))
        lifetimes[row] = torch.tensor(life if life[0] < life[1] else _NEVER)
    return lifetimes


def _stick_out(gaussians: Gaussians, video: MultiViewVideo, frame: int) -> Bool[Tensor, " N"]:
    """Whether the center or an end of each Gaussian of a frame lies beside the grown mask of a view."""
    views = video.valid[frame].nonzero().squeeze(1)
    masks = video.gather(torch.full_like(views, frame), views).alphas
    height, width = masks.shape[-2:]
    radius = max(1, round(_GROWN * height))
    inside = F.max_pool2d((masks > 0.5).float(), 2 * radius + 1, stride=1, padding=radius) > 0.5
    if video.pixel_weights is not None:
        inside |= F.interpolate(video.pixel_weights[frame, views].cpu(), (height, width), mode="bilinear") <= 0
    means, scales = gaussians.means[0], gaussians.scales[0]
    longest = scales.argmax(-1)
    axes = quats_to_matrices(gaussians.quats[0])[torch.arange(len(means)), :, longest]
    ends = _TIP * scales.amax(-1, keepdim=True) * axes
    points = torch.cat((means, means - ends, means + ends))
    positions, depths = project_points(points, video.cameras[frame, views])
    columns, rows = positions.floor().long().unbind(-1)
    in_image = (depths > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    pixels = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    is_beside = in_image & ~inside.flatten(1).gather(1, pixels)
    return is_beside.any(0).view(3, -1).any(0)


def _are_loose(gaussians: Gaussians) -> Bool[Tensor, " N"]:
    """Whether each Gaussian of a frame is one of few that have empty space around them."""
    loose = torch.zeros(gaussians.num_gaussians, dtype=torch.bool)
    is_seen = (gaussians.opacities[0] >= SEEN_OPACITY) & gaussians.means[0].isfinite().all(-1)
    rows = is_seen.nonzero().squeeze(1)
    if len(rows) < 2:
        return loose
    means = gaussians.means[0, rows]
    spacing = (means[nearest_neighbors(means, _NEIGHBORS)] - means[:, None]).norm(dim=-1).mean(1).median()
    extent = means.amax(0) - means.amin(0)
    voxels = ((means - means.amin(0)) / torch.maximum(_GAP * spacing, extent.max() / _VOXELS)).long().numpy()
    occupied = np.zeros(voxels.max(0) + 1, bool)
    occupied[tuple(voxels.T)] = True
    parts, _ = ndimage.label(occupied, np.ones((3, 3, 3)))
    labels = parts[tuple(voxels.T)]
    loose[rows] = torch.from_numpy(np.bincount(labels)[labels] < _FEW * len(rows))
    return loose


def _edges(video: MultiViewVideo) -> list[float]:
    """Times halfway between neighboring frames, seconds, and forever before the first and after the last one."""
    seconds = video.times.double() * video.duration
    return [-FOREVER, *(0.5 * (seconds[1:] + seconds[:-1])).tolist(), FOREVER]


def _best_life(opacities: Float[Tensor, " T"], wrong: Bool[Tensor, " T"], edges: list[float]) -> tuple[float, float]:
    """Birth and death around the run of frames in which a Gaussian is not wrong and shows most."""
    ends = [-1, *wrong.nonzero().squeeze(1).tolist(), len(wrong)]
    runs = [(float(opacities[last + 1 : end].sum()), last + 1, end) for last, end in pairwise(ends)]
    shown, first, end = max(runs)
    return (edges[first], edges[end]) if shown >= _FAINT else _NEVER
