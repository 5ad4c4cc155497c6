"""Lives of Gaussians that end where they stick out of the masks of the views, or are loose beside the object.

Where an object moves far, single Gaussians are carried or stretched out of it in some frames. They are thin, faint or
few, so that the losses of images hardly move them: from other sides they are needles and specks beside the object. A
life is one stretch of time, so it may lose frames that are right, too, or keep some that are wrong.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import project_points, quats_to_matrices
from ds4d.scene import SEEN_OPACITY, DynamicGaussians, endless_lifetimes
from ds4d.scene.lifetimes import FOREVER, are_alive
from ds4d.shapes import nearest_neighbors
from ds4d.types import Cameras, Gaussians, MultiViewVideo

# Masks are grown by this fraction of the height of the image, as coverage is soft and generated views disagree.
_GROWN = 3 / 256
_FAULTY = 0.05  # fraction of the Gaussians beside a mask from which on the mask is wrong, such as one with a torn limb
_FAINT = 0.01  # opacity below which nobody sees what sticks out
_TIP = 2.0  # standard deviations from the center to the ends of a Gaussian's longest axis, an eighth as opaque
_FAINT_TIP = 0.03
_NEIGHBORS = 4
_REACH = 2  # voxels, as wide as Gaussians are apart: those that are farther apart than twice this belong to other parts
_VOXELS = 128  # along the longest side, at most: Gaussians may lie on one another
_FEW = 0.01  # fraction of the Gaussians that a frame shows; more of them are a part of the object
_ROUNDS = 4  # of looking for loose ones: what is gone no longer holds others
_COVERED = 8 / 256  # of the height of an image, around the centers of other Gaussians
_COST = 8.0  # frames that a life may lose for each that is wrong; one mask may be, and halve it in the middle of a clip
_NEVER = (-FOREVER, -0.5 * FOREVER)  # a life before all frames, of what is wrong in each frame that shows it


@torch.no_grad()
def trimmed_lifetimes(scene: DynamicGaussians, video: MultiViewVideo) -> Float[Tensor, "N 2"] | None:
    """Lifetimes of all Gaussians without the frames in which they stick out of a view's mask or are loose.

    Args:
        scene: scene whose Gaussians may stick out.
        video: multi-view video with cameras in normalized space; view 0 is the input view. Pixels without weight, those
            beside an image, and masks beside which many Gaussians lie say nothing.

    Returns:
        Births and deaths in seconds, on the CPU; None if nothing is to be changed. Gaussians that are wrong wherever
        they show have lives that no frame is in.
    """
    means, opacities, outside = [], [], []
    for frame in range(video.num_times):
        gaussians = scene.at(video.times[frame : frame + 1].to(scene.device)).to("cpu")
        means.append(gaussians.means[0])
        opacities.append(gaussians.opacities[0])
        outside.append(_stick_out(gaussians, video, frame))
    shown, wrong = torch.stack(opacities), torch.stack(outside)
    known = scene.gaussians.lifetimes
    before = endless_lifetimes(scene.num_gaussians) if known is None else known.cpu()
    lifetimes = _lives_without(wrong, shown, before, video)
    for _ in range(_ROUNDS):
        alive = are_alive(lifetimes, video.times * video.duration)
        left = shown * (alive & ~wrong)
        loose = [_are_loose(means[frame], left[frame], video, frame) for frame in range(video.num_times)]
        if not torch.stack(loose).any():
            break
        wrong |= torch.stack(loose)
        lifetimes = _lives_without(wrong, shown, before, video)
    return None if torch.equal(lifetimes, before) else lifetimes


def _stick_out(gaussians: Gaussians, video: MultiViewVideo, frame: int) -> Bool[Tensor, " N"]:
    """Whether the center or an end of each Gaussian of a frame lies beside the grown mask of a view."""
    views = video.valid[frame].nonzero().squeeze(1)
    masks = video.gather(torch.full_like(views, frame), views).alphas
    height, width = masks.shape[-2:]
    inside = _grown(masks > 0.5, _GROWN)
    if video.pixel_weights is not None:
        inside |= F.interpolate(video.pixel_weights[frame, views].cpu(), (height, width), mode="bilinear") <= 0
    means, scales, opacities = gaussians.means[0], gaussians.scales[0], gaussians.opacities[0]
    longest = scales.argmax(-1)
    axes = quats_to_matrices(gaussians.quats[0])[torch.arange(len(means)), :, longest]
    ends = _TIP * scales.amax(-1, keepdim=True) * axes
    pixels, in_image = _pixels(torch.cat((means, means - ends, means + ends)), video.cameras[frame, views])
    is_beside = (in_image & ~inside.flatten(1).gather(1, pixels)).view(len(views), 3, -1)
    centers = is_beside[:, 0] & (opacities >= _FAINT)
    tips = is_beside[:, 1:].any(1) & (opacities >= _FAINT_TIP)
    is_right = centers.sum(1) <= _FAULTY * (opacities >= _FAINT).sum()
    return (centers | tips)[is_right].any(0)


def _are_loose(
    means: Float[Tensor, "N 3"], opacities: Float[Tensor, " N"], video: MultiViewVideo, frame: int
) -> Bool[Tensor, " N"]:
    """Whether each Gaussian that is seen in a frame is one of few with nothing around them.

    What the input view's mask shows and no other Gaussian covers is a small part of the object.
    """
    loose = torch.zeros(len(means), dtype=torch.bool)
    rows = ((opacities >= SEEN_OPACITY) & means.isfinite().all(-1)).nonzero().squeeze(1)
    means = means[rows]
    extent = (means.amax(0) - means.amin(0)).max() if len(rows) > _NEIGHBORS else torch.zeros(())
    if not 0 < extent < torch.inf:
        return loose
    spacing = (means[nearest_neighbors(means, _NEIGHBORS)] - means[:, None]).norm(dim=-1).mean(1).median()
    voxels = ((means - means.amin(0)) / torch.maximum(spacing, extent / _VOXELS)).long().numpy() + _REACH
    reached = np.zeros(voxels.max(0) + 1 + _REACH, np.uint8)
    reached[tuple(voxels.T)] = 1
    parts, _ = ndimage.label(ndimage.maximum_filter(reached, 2 * _REACH + 1), np.ones((3, 3, 3)))
    labels = parts[tuple(voxels.T)]
    counts = np.bincount(labels)
    is_few = torch.from_numpy(counts[labels] < _FEW * len(rows))
    if is_few.any() and bool(video.valid[frame, 0]):
        alone = _alone_in_the_mask(means, is_few, video, frame)
        shares = np.bincount(labels, alone.numpy(), len(counts)) / np.maximum(counts, 1)
        is_few &= torch.from_numpy(shares[labels] < 0.5)
    loose[rows] = is_few
    return loose


def _alone_in_the_mask(
    means: Float[Tensor, "N 3"], is_few: Bool[Tensor, " N"], video: MultiViewVideo, frame: int
) -> Bool[Tensor, " N"]:
    """Which of few Gaussians lie on the input view's mask where it shows none of the others."""
    view = torch.zeros(1, dtype=torch.long)
    mask = video.gather(torch.full_like(view, frame), view).alphas > 0.5
    pixels, in_image = _pixels(means, video.cameras[frame, view])
    covered = torch.zeros_like(mask)
    covered.view(-1)[pixels[0, in_image[0] & ~is_few]] = True
    uncovered = (mask & ~_grown(covered, _COVERED)).flatten()
    return is_few & in_image[0] & uncovered[pixels[0]]


def _grown(masks: Bool[Tensor, "V 1 H W"], fraction: float) -> Bool[Tensor, "V 1 H W"]:
    """Masks that are larger on every side by a fraction of their height."""
    radius = max(1, round(fraction * masks.shape[-2]))
    return F.max_pool2d(masks.float(), 2 * radius + 1, stride=1, padding=radius) > 0.5


def _pixels(points: Float[Tensor, "N 3"], cameras: Cameras) -> tuple[Int[Tensor, "V N"], Bool[Tensor, "V N"]]:
    """Index of the pixel of each view in which a point lies, and whether it lies in the image."""
    positions, depths = project_points(points, cameras)
    columns, rows = positions.nan_to_num().clamp(-1e6, 1e6).floor().long().unbind(-1)
    in_image = (depths > 0) & (columns >= 0) & (columns < cameras.width) & (rows >= 0) & (rows < cameras.height)
    return rows.clamp(0, cameras.height - 1) * cameras.width + columns.clamp(0, cameras.width - 1), in_image


def _lives_without(
    wrong: Bool[Tensor, "T N"], shown: Float[Tensor, "T N"], lifetimes: Float[Tensor, "N 2"], video: MultiViewVideo
) -> Float[Tensor, "N 2"]:
    """Lifetimes that leave out the frames in which Gaussians are wrong.

    Args:
        wrong: in which frames each is.
        shown: opacities.
        lifetimes: of which they are parts.
        video: video with the times of the frames.
    """
    seconds, revised = video.times.double() * video.duration, lifetimes.clone()
    edges = [-FOREVER, *(0.5 * (seconds[1:] + seconds[:-1])).tolist(), FOREVER]
    for row in wrong.any(0).nonzero().squeeze(1).tolist():
        birth, death = _best_life(shown[:, row], wrong[:, row], edges)
        life = (max(birth, float(lifetimes[row, 0])), min(death, float(lifetimes[row, 1])))
        revised[row] = torch.tensor(life if life[0] < life[1] else _NEVER)
    return revised


def _best_life(opacities: Float[Tensor, " T"], wrong: Bool[Tensor, " T"], edges: list[float]) -> tuple[float, float]:
    """Birth and death around the run of frames in which a Gaussian shows most, what is wrong counted against it."""
    best, first, end, start, total = 0.0, 0, 0, 0, 0.0
    for frame, value in enumerate(torch.where(wrong, -_COST * opacities, opacities).tolist()):
        if total <= 0:
            start, total = frame, 0.0
        total += value
        if total > best:
            best, first, end = total, start, frame + 1
    return (edges[first], edges[end]) if best >= _FAINT else _NEVER
