"""Selection of a video's frames by time."""

from collections.abc import Sequence

import numpy as np

from ds4d.preprocess.config import VideoConfig

_DEFAULT_FRAMES = 32  # the usual clip length in video-to-4D generation
_MAX_FRAMES = 10_000  # longer clips are mistakes rather than wishes: a fit takes hours
_SLACK = 1e-6  # seconds; containers round times


def select_frames(seconds: Sequence[float], config: VideoConfig) -> list[int]:
    """Indices of the frames to use.

    Selects by time, so that a variable frame rate does not change the motion: target times are evenly spaced from the
    first frame within `start` and `end`, and each takes the frame nearest to it.

    Args:
        seconds: time of every frame of the video, increasing.
        config: the time range, and the number of frames or the frame rate.

    Returns:
        Increasing indices; one is repeated only where no new frame is displayed for longer than the step.

    Raises:
        ValueError: No frame lies within `start` and `end`, the video's frame rate is below `fps`, or more than 10000
            frames are selected.
    """
    times = np.asarray(seconds)
    inside = times >= config.start - _SLACK
    if config.end is not None:
        inside &= times <= config.end + _SLACK
    if not inside.any():
        end = "the end" if config.end is None else f"{config.end:g} s"
        raise ValueError(
            f"--start and --end must leave at least one frame, got {config.start:g} s to {end} of a video that ends at "
            f"{times[-1]:.2f} s. Change them."
        )
    within = times[inside]
    targets = _evenly(within, config) if config.fps is None else _at_rate(within, config.fps, config.frames)
    if len(targets) > _MAX_FRAMES:
        raise ValueError(
            f"a clip must have at most {_MAX_FRAMES} frames, got {len(targets)}. Give --frames, a lower --fps, or a "
            "shorter range with --start and --end."
        )
    following = np.searchsorted(within, targets).clip(1, max(1, len(within) - 1))
    if len(within) == 1:
        following[:] = 0
    nearest = following - (np.abs(targets - within[following - 1]) < np.abs(targets - within[following]))
    return (nearest + int(inside.argmax())).tolist()


def _evenly(within: np.ndarray, config: VideoConfig) -> np.ndarray:
    return np.linspace(within[0], within[-1], min(config.frames or _DEFAULT_FRAMES, len(within)))


def _at_rate(within: np.ndarray, fps: float, frames: int | None) -> np.ndarray:
    length = within[-1] - within[0]
    if fps * length > (len(within) - 1) * 1.01:  # containers round times
        video_fps = (len(within) - 1) / length
        raise ValueError(
            f"--fps must be at most the video's frame rate, {video_fps:.4g}, got {fps:g}. Lower it or leave it out."
        )
    return within[0] + np.arange(int(fps * length + 0.01) + 1)[:frames] / fps
