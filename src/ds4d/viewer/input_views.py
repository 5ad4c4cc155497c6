"""The input beside the scene: its cameras, its images, and the saliency map over the input view."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import Degraded, notify
from ds4d.geometry import transform_cameras
from ds4d.io import fit_within, resize_premultiplied
from ds4d.io.video_reader import VideoReader
from ds4d.types import MultiViewVideo, Similarity
from ds4d.viewer.camera_poses import CameraPose
from ds4d.visualize import input_image

IMAGE_SIZE = 320  # pixels, longer side of the image in the panel
_THUMBNAIL_SIZE = 96  # pixels, longer side of the images in the camera frusta
_CACHED_IMAGES = 256


class InputViews:
    """The training views as the viewer shows them.

    Args:
        video: training views, with cameras in normalized space.
        saliency: saliency map over each frame of the input view, or None.

    Attributes:
        names: names of the views.
        has_moving_cameras: whether a camera moves over time.
    """

    def __init__(self, video: MultiViewVideo, saliency: list[UInt8[np.ndarray, "H W 3"]] | None = None) -> None:
        self.video = video
        self.saliency = saliency
        self.names = video.view_names
        self.has_moving_cameras = not video.cameras.is_static
        self._read = lru_cache(maxsize=_CACHED_IMAGES)(self._read_image)

    def frame_at(self, time: float) -> int:
        """Index of the frame nearest to a time in [0, 1]."""
        return int((self.video.times - time).abs().argmin())

    def pose(self, frame: int, view: int) -> CameraPose:
        """Camera of a view at a frame."""
        return CameraPose.from_cameras(self.video.cameras, frame, view)

    def image(self, frame: int, view: int, *, saliency: bool) -> UInt8[np.ndarray, "H W 3"]:
        """Training image on white; with `saliency`, the input view has the saliency map over it if there is one."""
        if saliency and view == 0 and self.saliency is not None:
            return self.saliency[frame]
        return self._read(frame, view, IMAGE_SIZE)

    def thumbnail(self, view: int) -> UInt8[np.ndarray, "H W 3"]:
        """The middle frame of a view, small."""
        return self._read(self.video.middle, view, _THUMBNAIL_SIZE)

    def _read_image(self, frame: int, view: int, size: int) -> UInt8[np.ndarray, "H W 3"]:
        frames = self.video.frames
        return input_image(self.video, frame, view, *fit_within(frames.width, frames.height, size))


def input_views(video: MultiViewVideo, world: Similarity, saliency_map: Path) -> InputViews:
    """The training views of a finished run.

    Args:
        video: training views, with cameras in world space.
        world: similarity from world space to normalized space.
        saliency_map: the run's saliency.mp4; if it cannot be read, there is a notice and no saliency map.
    """
    video = replace(video, cameras=transform_cameras(world, video.cameras))
    if video.num_times == 1 or not video.cameras.is_static:
        return InputViews(video)  # such runs have no saliency map
    try:
        return InputViews(video, _read_saliency_map(saliency_map, video.num_times))
    except (ValueError, ImportError) as error:
        notify(Degraded("viewer", f"the saliency map is not shown: {error}"))
        return InputViews(video)


def _read_saliency_map(path: Path, count: int) -> list[UInt8[np.ndarray, "H W 3"]]:
    video = VideoReader(path)
    if len(video.seconds) != count:
        raise ValueError(f"{path} must hold an image for each of {count} frames, got {len(video.seconds)}.")
    width, height = fit_within(video.size.width, video.size.height, IMAGE_SIZE)
    frames = video.read(range(len(video.seconds)), IMAGE_SIZE, alpha=False)
    return [resize_premultiplied(image, width, height)[..., :3] for _, image in frames]
