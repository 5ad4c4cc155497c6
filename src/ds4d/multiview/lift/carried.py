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

_NEIGHBORS = 4  # tracked pixels that a pixel of a crop is read from
_COLOR = 0.15  # standard deviation of the colors of one place in two frames
_OWN = 0.05  # weight of what a frame says of itself; a tracked pixel at the place, of the same color, has 1


@dataclass(frozen=True)
class Tracked:
    """The shape of the middle frame, and where what it shows is in other frames.

    Attributes:
        pair: front and back, one time.
        camera: camera of its crop.
        whole: camera of whole frames, one view without a time axis.
        start: pixels that are followed, x and y as fractions of the size of the whole frame.
        tracks: where they are at some times.
    """

    pair: DepthPair
    camera: Cameras
    whole: Cameras
    start: Float[Tensor, "s s 2"]
    tracks: Float[Tensor, "T s s 2"]

    def at_times(self, times: range) -> "Tracked":
        """What is tracked to some of the times."""
        return replace(self, tracks=self.tracks[times.start : times.stop])


def carried(pair: DepthPair, cameras: Cameras, tracked: Tracked) -> DepthPair:
    """Relief and back colors of the middle frame where its pixels are found again, moved in depth as a whole.

    The relief of a part stays; how its depth changes is a median over its surroundings of what the frames say.

    Args:
        pair: depth maps of some frames.
        cameras: cameras of their crops.
        tracked: what is carried to them.
    """
    place = _in_crop(tracked.start, tracked.whole, tracked.camera)
    first = tracked.pair
    layers = torch.cat((_between(first), first.back_colors[0], first.front_colors[0], first.inside.float()))
    seen = _sampled(layers, place).numpy()
    done = []
    for t, there in enumerate(tracked.tracks):
        frame = pair.at_times(slice(t, t + 1))
        if torch.equal(there, tracked.start):  # the middle frame itself
            done.append((_between(frame)[0], frame.back_colors[0]))
        else:
            done.append(_carried_to(frame, _in_crop(there, tracked.whole, cameras[t : t + 1]), seen))
    between, colors = (torch.stack(each) for each in zip(*done, strict=True))
    half = 0.5 * (pair.back - pair.front)
    return replace(pair, front=between - half, back=between + half, back_colors=colors)


def _between(pair: DepthPair) -> Float[Tensor, "T h w"]:
    """The surface halfway between front and back, which does not bend away at the boundary of the mask."""
    return 0.5 * (pair.front + pair.back)


def _carried_to(
    pair: DepthPair, place: Float[Tensor, "s s 2"], seen: Float[np.ndarray, "8 s s"]
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "3 h w"]]:
    """The surface between front and back in one frame, and the colors of the back.

    Args:
        pair: depth maps of the frame.
        place: where the tracked pixels are in its crop, pixels.
        seen: of each of them in the middle frame: the depth between front and back, the color of the back, that of the
            front, and 1 if it shows the object.
    """
    own = torch.cat((_between(pair), pair.back_colors[0]))
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


def _in_crop(points: Float[Tensor, "s s 2"], whole: Cameras, crop: Cameras) -> Float[Tensor, "s s 2"]:
    """Points of the whole frame in pixels of a crop."""
    size = points.new_tensor([whole.width, whole.height])
    ours, theirs = whole.Ks.reshape(3, 3), crop.Ks.reshape(3, 3)
    rays = (points * size - ours[:2, 2]) / ours.diagonal()[:2]
    return rays * theirs.diagonal()[:2] + theirs[:2, 2]


def _sampled(layers: Float[Tensor, "C h w"], place: Float[Tensor, "s s 2"]) -> Float[Tensor, "C s s"]:
    """The nearest pixels; 0 beside the image."""
    size = place.new_tensor([layers.shape[-1], layers.shape[-2]])
    grid = 2 * place / size - 1
    return F.grid_sample(layers[None], grid[None], mode="nearest", align_corners=False)[0]
