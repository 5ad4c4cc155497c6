"""Whether the images' silhouettes can be used at all."""

from ds4d.data.frame_store import FrameStore
from ds4d.types import MultiViewVideo

_OPAQUE = 128  # of 255: at least half covered


def check_masks(video: MultiViewVideo) -> None:
    """Reads all images and refuses empty masks, and masks that leave no background where it is needed.

    An object may come close enough to fill some images, but not those of the real view, which is trusted, nor those
    of the middle frame, whose silhouettes make the first shape.

    Raises:
        ValueError: an image is empty or, in the real view or the middle frame, opaque; the message names it.
    """
    for time, view in video.valid.nonzero().tolist():
        covered = video.frames.read(time, view)[..., 3] >= _OPAQUE
        if not covered.any():
            raise ValueError(
                f"{_name(video, time, view)} must show the object, got an empty mask. "
                "Make its mask again, or remove the frame."
            )
        if covered.all() and (view == 0 or time == video.middle):
            raise ValueError(
                f"{_name(video, time, view)} must have a transparent background, got an opaque image. "
                "Cut the object out first (save RGBA)."
            )


def _name(video: MultiViewVideo, time: int, view: int) -> str:
    place = f"frame {time} of view {video.view_names[view]!r}"
    return f"{video.frames.paths[time][view]} ({place})" if isinstance(video.frames, FrameStore) else place
