"""Settings of the images and videos of a run."""

from dataclasses import dataclass

from ds4d.core import check_ranges

_MAX_FRAMES = 10**5  # of a video: an hour


def check_frame_count(name: str, frames: float) -> None:
    """Refuses videos of more than 100000 frames.

    Args:
        name: what the number of frames follows from, for the message.
        frames: number of frames, rounded or not.

    Raises:
        ValueError: there are more, or the number is not finite.
    """
    if not frames <= _MAX_FRAMES:
        raise ValueError(f"{name} must give at most {_MAX_FRAMES} frames, got {frames:.4g}. Lower it, or fps.")


@dataclass(frozen=True)
class OutputsConfig:
    """Images and videos that a run writes.

    Attributes:
        size: height and width of the videos, pixels.
        fps: frame rate of the videos, frames per second.
        seconds: minimum length of each video, seconds; the motion repeats to fill it.
        slow: slow-motion factor; 2 plays at half the recorded speed.
        turns: revolutions of the camera in the orbit video; negative values reverse the direction.
        elevation_deg: elevation of the camera, degrees, positive from above.
        sheet_size: height and width of the images in the contact sheet, pixels.
        sheet_columns: number of times shown in the contact sheet.
    """

    size: int = 512
    fps: float = 24.0
    seconds: float = 6.0
    slow: float = 1.0
    turns: float = 1.0
    elevation_deg: float = 10.0
    sheet_size: int = 192
    sheet_columns: int = 6

    def __post_init__(self) -> None:
        check_ranges(self, size="[1, 16384]", fps="(0, inf)", seconds="(0, inf)", slow="(0, inf)", turns="(-inf, inf)")
        check_ranges(self, elevation_deg="[-90, 90]", sheet_size="[1, 4096]", sheet_columns="[1, 1000]")
        check_frame_count("seconds", self.seconds * self.fps)
