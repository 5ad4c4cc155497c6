"""What a run was made of, for the eye: the input's cameras, its images, and the heat over the real ones."""

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

IMAGE_SIZE = 320  # pixels, longer side of the image beside the object
_THUMBNAIL_SIZE = 96  # of those in the cameras
_KEPT = 256  # images


class InputViews:
    """The views of a clip.

    Args:
        video: with cameras in the inner world.
        saliency: the heat map over each frame of view 0, if there is one.
    """

    def __init__(self, video: MultiViewVideo, saliency: list[UInt8[np.ndarray, "H W 3"]] | None = None) -> None:
        self.video = video
        self.saliency = saliency
        self.names = video.view_names
        self.moves = not video.cameras.is_static
        self._read = lru_cache(maxsize=_KEPT)(self._read_input)

    def frame_at(self, time: float) -> int:
        """Index of the frame that is nearest to a time in [0, 1]."""
        return int((self.video.times - time).abs().argmin())

    def pose(self, frame: int, view: int) -> CameraPose:
        """Where the camera of a view stands at a frame."""
        return CameraPose.of(self.video.cameras, frame, view)

    def image(self, frame: int, view: int, *, saliency: bool) -> UInt8[np.ndarray, "H W 3"]:
        """The input at a frame, on white; the front view under its heat map if asked for and there."""
        if saliency and view == 0 and self.saliency is not None:
            return self.saliency[frame]
        return self._read(frame, view, IMAGE_SIZE)

    def thumbnail(self, view: int) -> UInt8[np.ndarray, "H W 3"]:
        """The middle frame of a view, small."""
        return self._read(self.video.middle, view, _THUMBNAIL_SIZE)

    def _read_input(self, frame: int, view: int, size: int) -> UInt8[np.ndarray, "H W 3"]:
        frames = self.video.frames
        return input_image(self.video, frame, view, *fit_within(frames.width, frames.height, size))


def placed_views(video: MultiViewVideo, world: Similarity, saliency_map: Path) -> InputViews:
    """The views of a finished run.

    Args:
        video: its input, in the user's world.
        world: the user's world to the inner one.
        saliency_map: the run's saliency.mp4; where it cannot be shown there is a warning and no heat.
    """
    placed = replace(video, cameras=transform_cameras(world, video.cameras))
    if video.num_times == 1 or not video.cameras.is_static:
        return InputViews(placed)  # of such clips there is no heat map
    try:
        return InputViews(placed, _read_saliency(saliency_map, video.num_times))
    except (ValueError, ImportError) as error:
        notify(Degraded("viewer", f"the saliency map is not shown: {error}"))
        return InputViews(placed)


def _read_saliency(path: Path, count: int) -> list[UInt8[np.ndarray, "H W 3"]]:
    video = VideoReader(path)
    if len(video.seconds) != count:
        raise ValueError(f"{path} must hold an image for each of {count} frames, got {len(video.seconds)}.")
    width, height = fit_within(video.size.width, video.size.height, IMAGE_SIZE)
    frames = video.read(range(len(video.seconds)), IMAGE_SIZE, alpha=False)
    return [resize_premultiplied(image, width, height)[..., :3] for _, image in frames]
