"""Which frames of a video are used."""

from collections.abc import Sequence

import numpy as np

from ds4d.preprocess.config import VideoConfig

_USUAL = 32  # frames, where nobody says how many: the length of the clips that view generators are shown with
_MOST = 500  # frames, all of which are held in memory
_SLACK = 1e-6  # seconds; containers round times


def choose_frames(seconds: Sequence[float], config: VideoConfig) -> list[int]:
    """Indices of the frames to use, by time, so that a variable frame rate does no harm to the motion.

    Evenly spaced times are laid from the first frame within `start` and `end` on; each takes the frame nearest to it.

    Args:
        seconds: the time of every frame of the video, rising.
        config: which ones are asked for.

    Returns:
        Rising indices; one appears twice only where the video stands still for longer than the step.

    Raises:
        ValueError: no frame lies within `start` and `end`, the video is slower than the `fps` asked for, or more frames
            are asked for than can be kept.
    """
    times = np.asarray(seconds)
    inside = times >= config.start - _SLACK
    if config.end is not None:
        inside &= times <= config.end + _SLACK
    if not inside.any():
        raise ValueError(
            f"--start and --end must leave at least one frame, got {config.start:g} s to "
            f"{'the end' if config.end is None else f'{config.end:g} s'} of a video that lasts to {times[-1]:.2f} s. "
            "Move them."
        )
    within = times[inside]
    targets = _evenly(within, config) if config.fps is None else _at_rate(within, config.fps, config.frames)
    if len(targets) > _MOST:
        raise ValueError(
            f"a clip must have at most {_MOST} frames, got {len(targets)}. Give --frames, a lower --fps, or --start "
            "and --end."
        )
    following = np.searchsorted(within, targets).clip(1, max(1, len(within) - 1))
    if len(within) == 1:
        following[:] = 0
    nearest = following - (np.abs(targets - within[following - 1]) < np.abs(targets - within[following]))
    return (nearest + int(inside.argmax())).tolist()


def _evenly(within: np.ndarray, config: VideoConfig) -> np.ndarray:
    return np.linspace(within[0], within[-1], min(config.frames or _USUAL, len(within)))


def _at_rate(within: np.ndarray, fps: float, frames: int | None) -> np.ndarray:
    length = within[-1] - within[0]
    if fps * length > (len(within) - 1) * 1.01:  # containers round times
        own = (len(within) - 1) / length
        raise ValueError(
            f"--fps must be at most the video's own rate, {own:.4g}, got {fps:g}. Lower it, or leave it out."
        )
    return within[0] + np.arange(int(fps * length + 0.01) + 1)[:frames] / fps
