"""What a run was made of, for the eye: the input's cameras, its pictures, and the heat over the real ones."""

import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.geometry import transform_cameras
from ds4d.io import resize_premultiplied
from ds4d.io.video_reader import FilmFile
from ds4d.types import MultiViewVideo, Similarity
from ds4d.viewer.camera_poses import CameraPose
from ds4d.visualize import fitting_size, input_picture

PICTURE_SIZE = 320  # pixels, longer side of the picture beside the object
_THUMBNAIL_SIZE = 96  # of those in the cameras
_KEPT = 256  # pictures


class InputViews:
    """The views of a clip.

    Args:
        video: with cameras in the inner world.
        heat: the heat map over each frame of view 0, if there is one.
    """

    def __init__(self, video: MultiViewVideo, heat: list[UInt8[np.ndarray, "H W 3"]] | None = None) -> None:
        self.video = video
        self.heat = heat
        self.names = video.view_names
        self.moves = not video.cameras.is_static
        self._read = lru_cache(maxsize=_KEPT)(self._read_input)

    def frame_at(self, time: float) -> int:
        """Index of the frame that is nearest to a time in [0, 1]."""
        return int((self.video.times - time).abs().argmin())

    def pose(self, frame: int, view: int) -> CameraPose:
        """Where the camera of a view stands at a frame."""
        return CameraPose.of(self.video.cameras, frame, view)

    def picture(self, frame: int, view: int, *, heat: bool) -> UInt8[np.ndarray, "H W 3"]:
        """The input at a frame, on white; the front view under its heat map if asked for and there."""
        if heat and view == 0 and self.heat is not None:
            return self.heat[frame]
        return self._read(frame, view, PICTURE_SIZE)

    def thumbnail(self, view: int) -> UInt8[np.ndarray, "H W 3"]:
        """The middle frame of a view, small."""
        return self._read(self.video.middle, view, _THUMBNAIL_SIZE)

    def _read_input(self, frame: int, view: int, size: int) -> UInt8[np.ndarray, "H W 3"]:
        frames = self.video.frames
        return input_picture(self.video, frame, view, *fitting_size(frames.width, frames.height, size))


def placed_views(video: MultiViewVideo, world: Similarity, heat_map: Path) -> InputViews:
    """The views of a finished run.

    Args:
        video: its input, in the user's world.
        world: the user's world to the inner one.
        heat_map: the run's heatmap.mp4; where it cannot be shown there is a warning and no heat.
    """
    placed = replace(video, cameras=transform_cameras(world, video.cameras))
    if video.num_times == 1 or not video.cameras.is_static:
        return InputViews(placed)  # of such clips there is no heat map
    try:
        return InputViews(placed, _read_heat(heat_map, video.num_times))
    except (ValueError, ImportError) as error:
        warnings.warn(f"the heat map is not shown: {error}", stacklevel=2)
        return InputViews(placed)


def _read_heat(path: Path, count: int) -> list[UInt8[np.ndarray, "H W 3"]]:
    film = FilmFile(path)
    if len(film.seconds) != count:
        raise ValueError(f"{path} must hold a picture for each of {count} frames, got {len(film.seconds)}.")
    width, height = fitting_size(film.size.width, film.size.height, PICTURE_SIZE)
    frames = film.read(range(len(film.seconds)), PICTURE_SIZE, alpha=False)
    return [resize_premultiplied(picture, width, height)[..., :3] for _, picture in frames]
