"""Cameras of a video whose camera moves around the object, or whose object is on a turntable: a pose per frame."""

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from ds4d.data.transforms_file import TransformsFrame, read_transforms
from ds4d.io import Size
from ds4d.preprocess.crop import CropBox
from ds4d.preprocess.raw_video import VideoInfo
from ds4d.types import Cameras

_ASPECT_TOLERANCE = 0.01


def read_video_cameras(path: Path, info: VideoInfo, crop: CropBox) -> Cameras:
    """The camera of each selected frame for its crop, [T, 1], in the world of a transforms file.

    The file has one entry for each frame of the video or for each selected one, in the order of their keys `frame`,
    else `time`, else of the numbers in their names.

    Args:
        path: transforms file (`ds4d.data.transforms_file`); images that it names need not exist.
        info: the selected frames.
        crop: what was cropped of them.

    Raises:
        ValueError: see `read_transforms`; or the number of frames or the shape of their images is another one.
    """
    if not path.is_file():
        raise ValueError(f"--cameras must be a transforms file, got {path}, where there is none. Check the path.")
    frames = _in_order(read_transforms(path, size=tuple(info.size), needs_time=False))
    if len(frames) == info.source_frames:
        chosen = [frames[index] for index in info.indices]
    elif len(frames) == len(info.indices):
        chosen = frames
    else:
        raise ValueError(
            f"--cameras {path} must hold one frame for each of the {info.source_frames} of the video, or for each of "
            f"the {len(info.indices)} that are used, got {len(frames)}. Leave frames without a pose out of the video."
        )
    for frame in chosen:
        if abs(frame.width * info.size.height / (frame.height * info.size.width) - 1) > _ASPECT_TOLERANCE:
            raise ValueError(
                f"--cameras {path} must be for images of the video's shape, {info.size.width} x {info.size.height}, "
                f"got {frame.width} x {frame.height} for {frame.file_path}. Correct w and h."
            )
    Ks = torch.stack([_cropped(frame, info.size, crop) for frame in chosen])
    viewmats = torch.stack([frame.viewmat for frame in chosen])
    return Cameras(viewmats[:, None], Ks[:, None], crop.size, crop.size)


def _in_order(frames: Sequence[TransformsFrame]) -> list[TransformsFrame]:
    """The frames in the order of time; as they are where nothing tells it."""
    numbers = [re.findall(r"\d+", PurePosixPath(frame.file_path).stem) for frame in frames]
    keys = (
        [frame.frame for frame in frames],
        [None if math.isnan(frame.time) else frame.time for frame in frames],
        [int(found[-1]) if found else None for found in numbers],
    )
    for key in keys:
        known = [value for value in key if value is not None]
        if len(set(known)) == len(frames):
            return [frames[index] for index in sorted(range(len(frames)), key=known.__getitem__)]
    return list(frames)


def _cropped(frame: TransformsFrame, video: Size, crop: CropBox) -> torch.Tensor:
    """Intrinsics of the cropped image."""
    K = torch.tensor([video.width / frame.width, video.height / frame.height, 1.0])[:, None] * frame.K
    K[:2, 2] -= torch.tensor([crop.left, crop.top])
    return torch.tensor([crop.size / crop.side, crop.size / crop.side, 1.0])[:, None] * K
