"""Where what the middle frame shows is in the other frames, by optical flow, for objects that move far between frames.

A fit follows motion by the overlap of what is rendered with what is seen. Where an object moves farther than its parts
are wide from one selected frame to the next, there is none. The frames between them, which the fit does not use, tell
the way.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, map_coordinates, median_filter
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import ArrayList, tracked
from ds4d.preprocess.components import erode
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.crop import CropBox
from ds4d.preprocess.matting import extract_mattes
from ds4d.preprocess.objects import OPAQUE
from ds4d.preprocess.raw_video import VideoInfo, read_frames

SIDE = 128  # of the images in which flow is found, pixels
_STEP = 0.02  # of the crop's side, by which the outline moves between frames that flow is found for
_OUTLINE = 2  # pixels
_WINDOW = 15  # pixels of tracks, over which changes of depth are a median: outlines and what hides a part stand out
_ATTACHMENT, _WARPS, _ITERATIONS = 10.0, 3, 5  # of TV-L1; more change little at this size


def find_tracks(
    path: Path, config: VideoConfig, info: VideoInfo, crop: CropBox, motion: Sequence[float]
) -> Float[Tensor, "T s s 2"]:
    """Follows every pixel of the middle frame through the clip.

    Args:
        path: the video.
        config: how it was read.
        info: the frames that were selected.
        crop: the crop of these frames.
        motion: how far the outline moves from each of them to the next, as a fraction of the crop's side.

    Returns:
        Where each pixel of the middle frame's crop is at each selected frame: x and y as fractions of the crop's side.
        Pixels beside the object move like its nearest one.
    """
    frames = _frames_between(path, config, info, crop, motion)
    middle = frames.chosen[len(frames.chosen) // 2]
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    start = np.stack((rows, columns))
    positions = {middle: start}
    order = [(time, time + 1) for time in range(middle, frames.chosen[-1])]
    order += [(time, time - 1) for time in range(middle, frames.chosen[0], -1)]
    for time, following in tracked(order, "following the motion", len(order)):
        positions[following] = _followed(positions[time], frames, time, following)
        if time not in frames.chosen:
            del positions[time]  # of long clips, what is not asked for is not kept
    found = np.stack([positions[time][::-1] for time in frames.chosen])
    return torch.from_numpy((found + 0.5) / SIDE).float().permute(0, 2, 3, 1).contiguous()


def with_depths(tracks: Float[Tensor, "T s s 2"], depths: Float[Tensor, "T h w"] | None) -> Float[Tensor, "T s s 3"]:
    """Tracks with the depth of what they follow, as a multiple of its depth in the middle frame.

    Args:
        tracks: tracks from the middle frame (`find_tracks`).
        depths: depth of the surface at each frame, at any resolution, 0 beside the object (`GeneratedViews.depths`);
            None if it is unknown, then it is taken to be constant.
    """
    changes = torch.ones(tracks.shape[:-1])
    if depths is not None:
        seen = F.grid_sample(depths[:, None], 2 * tracks - 1, mode="nearest", align_corners=False).squeeze(1)
        start = seen[len(seen) // 2]
        for time, there in enumerate(seen):
            known = (there > 0) & (start > 0)
            if known.any():
                changes[time] = torch.from_numpy(changes_of_depth(start.numpy(), there.numpy(), known.numpy()))
    return torch.cat((tracks, changes[..., None]), dim=-1)


def changes_of_depth(
    start: Float[np.ndarray, "s s"], there: Float[np.ndarray, "s s"], known: Bool[np.ndarray, "s s"]
) -> Float[np.ndarray, "s s"]:
    """The depth of tracked pixels in a frame as a multiple of that in the middle frame, as a median over surroundings.

    Args:
        start: depths in the middle frame.
        there: depths in the frame.
        known: where both are known, for one pixel at least; others are like the nearest one.
    """
    ratio = there / np.where(known, start, 1)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return median_filter(ratio[nearest[0], nearest[1]], _WINDOW)


class _Frames(NamedTuple):
    gray: Sequence[Float[np.ndarray, "s s"]]  # on white, in [0, 1]
    masks: Sequence[Bool[np.ndarray, "s s"]]
    chosen: list[int]  # those that the fit uses


def _frames_between(
    path: Path, config: VideoConfig, info: VideoInfo, crop: CropBox, motion: Sequence[float]
) -> _Frames:
    """The selected frames and those between them that are needed to follow the motion."""
    indices = [info.indices[0]]
    for (before, after), moved in zip(itertools.pairwise(info.indices), motion, strict=True):
        steps = max(1, min(after - before, math.ceil(moved / _STEP)))
        indices += np.linspace(before, after, steps + 1).round().astype(int).tolist()[1:]
    side = math.ceil(SIDE * max(info.size.width, info.size.height) / crop.side)
    images, read = ArrayList(), list[int]()
    for index, image in read_frames(path, config, indices, side):  # without those that cannot be decoded
        images.append(image)
        read.append(index)
    chosen = [read.index(index) for index in info.indices]
    extract_mattes(images, config)
    square = replace(crop, size=SIDE)
    crops = [square.crop(image) for image in images]
    gray = [((image[..., :3] @ np.array([0.299, 0.587, 0.114])) + (255 - image[..., 3])) / 255 for image in crops]
    return _Frames(gray, [image[..., 3] >= OPAQUE for image in crops], chosen)


def _followed(
    positions: Float[np.ndarray, "2 s s"], frames: _Frames, time: int, following: int
) -> Float[np.ndarray, "2 s s"]:
    """Rows and columns of points one frame later or earlier."""
    from skimage.registration import optical_flow_tvl1

    flow = optical_flow_tvl1(
        frames.gray[time],
        frames.gray[following],
        attachment=_ATTACHMENT,
        num_warp=_WARPS,
        num_iter=_ITERATIONS,
    )
    if (mask := frames.masks[time]).any():
        nearest = distance_transform_edt(~_inside(mask), return_distances=False, return_indices=True)
        flow = flow[:, nearest[0], nearest[1]]
    moved = [map_coordinates(part, positions, order=1, mode="nearest") for part in flow]
    return positions + np.stack(moved)


def _inside(mask: Bool[np.ndarray, "s s"]) -> Bool[np.ndarray, "s s"]:
    """The mask without its outline, whose flow is mixed with that of the background; thin parts are kept."""
    core = erode(mask, _OUTLINE)
    return core | (mask & (distance_transform_edt(~core) > 2 * _OUTLINE)) if core.any() else mask
