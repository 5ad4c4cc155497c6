"""A check of the masks of a multi-view video."""

from ds4d.data.frame_store import FrameStore
from ds4d.types import MultiViewVideo

_OPAQUE = 128  # of 255: at least half covered


def check_masks(video: MultiViewVideo) -> None:
    """Reads all images and refuses masks that cannot be used.

    The object may fill some images, but not those of the input view, nor those of the middle frame, whose masks make
    the initial shape.

    Raises:
        ValueError: a mask is empty, or it has no background in the input view or the middle frame; the message names
            the image.
    """
    for time, view in video.valid.nonzero().tolist():
        covered = video.frames.read(time, view)[..., 3] >= _OPAQUE
        if not covered.any():
            raise ValueError(
                f"{_name(video, time, view)} must show the object, got an empty mask. "
                "Correct its mask, or remove the frame."
            )
        if covered.all() and (view == 0 or time == video.middle):
            raise ValueError(
                f"{_name(video, time, view)} must have a transparent background, got an opaque image. "
                "Remove the background first (RGBA images)."
            )


def _name(video: MultiViewVideo, time: int, view: int) -> str:
    name = f"frame {time} of view {video.view_names[view]!r}"
    return f"{video.frames.paths[time][view]} ({name})" if isinstance(video.frames, FrameStore) else name
