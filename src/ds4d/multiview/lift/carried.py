"""Shapes of an object that moves far, carried along its tracks: what single frames say of it apart does not agree."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional as F

from ds4d.multiview.depth_pairs import DepthPair
from ds4d.preprocess.tracks import changes_of_depth
from ds4d.types import Cameras

_NEAREST = 0.5  # of the depth that a frame says itself: no surface is carried closer to the camera
_NEIGHBORS = 4  # tracked pixels that a pixel of a crop is read from
_COLOR = 0.15  # standard deviation of the colors of one place in two frames
_OWN = 0.05  # weight of what a frame says of itself; a tracked pixel at the place, of the same color, has 1


@dataclass(frozen=True)
class MiddleShape:
    """The shape of the middle frame, and where what it shows is in other frames.

    Attributes:
        pair: front and back, one time.
        camera: camera of its crop.
        whole: camera of whole frames, one view without a time axis.
        tracks: where pixels of the middle frame are in all frames, x and y as fractions of the size of the whole frame.
    """

    pair: DepthPair
    camera: Cameras
    whole: Cameras
    tracks: Float[Tensor, "T h w 2"]

    @property
    def middle(self) -> int:
        """Index of the middle frame."""
        return len(self.tracks) // 2


def carried(pair: DepthPair, cameras: Cameras, shape: MiddleShape, times: range) -> DepthPair:
    """Relief and back colors of the middle frame where its pixels are found again, moved in depth as a whole.

    The relief of a part stays; how its depth changes is a median over its surroundings of what the frames say.

    Args:
        pair: depth maps of some frames.
        cameras: cameras of their crops.
        shape: what is carried to them.
        times: the frames.
    """
    place = _in_crop(shape.tracks[shape.middle], shape.whole, shape.camera)
    first = shape.pair
    layers = torch.cat((_middle_surface(first), first.back_colors[0], first.front_colors[0], first.inside.float()))
    seen = _sampled(layers, place).numpy()
    surfaces, colors = _middle_surface(pair), pair.back_colors.clone()
    for row, time in enumerate(times):
        if time != shape.middle:
            there = _in_crop(shape.tracks[time], shape.whole, cameras[row : row + 1])
            surfaces[row], colors[row] = _carried_to(pair.at_times(slice(row, row + 1)), there, seen)
    # The confidences stay: what a frame could not tell, and is carried, is a guess as well.
    half = 0.5 * (pair.back - pair.front)
    front = torch.maximum(surfaces - half, _NEAREST * pair.front)
    return replace(pair, front=front, back=torch.maximum(front, surfaces + half), back_colors=colors)


def _middle_surface(pair: DepthPair) -> Float[Tensor, "T H W"]:
    """The surface halfway between front and back, which does not bend away at the boundary of the mask."""
    return 0.5 * (pair.front + pair.back)


def _carried_to(
    pair: DepthPair, place: Float[Tensor, "h w 2"], seen: Float[np.ndarray, "8 h w"]
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "3 H W"]]:
    """The surface between front and back in one frame, and the colors of the back.

    Args:
        pair: depth maps of the frame.
        place: where the tracked pixels are in its crop, pixels.
        seen: of each of them in the middle frame: the depth between front and back, the color of the back, that of the
            front, and 1 if it shows the object.
    """
    own = torch.cat((_middle_surface(pair), pair.back_colors[0]))
    here = _sampled(torch.cat((own[:1], pair.inside.float())), place).numpy()
    known = (seen[-1] > 0) & (here[1] > 0)
    if not known.any():
        return own[0], own[1:]
    depths = seen[0] * changes_of_depth(seen[0], here[0], known)
    values = np.concatenate((depths[None], seen[1:4]))[:, known]
    inside = pair.inside[0].numpy()
    nearest = range(1, min(_NEIGHBORS, known.sum()) + 1)
    distances, found = KDTree(place.numpy()[known]).query(np.argwhere(inside)[:, ::-1] + 0.5, k=nearest)
    colors = pair.front_colors[0].numpy()[:, inside].T
    differences = np.square(seen[4:7][:, known].T[found] - colors[:, None]).sum(-1)
    spacing = max(1.0, float(place.diff(dim=1).norm(dim=-1).median()))  # pixels of the crop
    weights = np.exp(-0.5 * (distances / spacing) ** 2 - differences / (2 * _COLOR**2))
    total = weights.sum(1)
    mean = (values[:, found] * weights).sum(-1) / np.maximum(total, 1e-12)
    share = torch.from_numpy(total / (total + _OWN)).float()
    result = own.clone()
    result[:, pair.inside[0]] = torch.lerp(own[:, pair.inside[0]], torch.from_numpy(mean).float(), share)
    return result[0], result[1:]


def _in_crop(points: Float[Tensor, "h w 2"], whole: Cameras, crop: Cameras) -> Float[Tensor, "h w 2"]:
    """Points of the whole frame in pixels of a crop."""
    size = points.new_tensor([whole.width, whole.height])
    ours, theirs = whole.Ks.reshape(3, 3), crop.Ks.reshape(3, 3)
    rays = (points * size - ours[:2, 2]) / ours.diagonal()[:2]
    return rays * theirs.diagonal()[:2] + theirs[:2, 2]


def _sampled(layers: Float[Tensor, "C H W"], place: Float[Tensor, "h w 2"]) -> Float[Tensor, "C h w"]:
    """The nearest pixels; 0 beside the image."""
    size = place.new_tensor([layers.shape[-1], layers.shape[-2]])
    grid = 2 * place / size - 1
    return F.grid_sample(layers[None], grid[None], mode="nearest", align_corners=False)[0]
