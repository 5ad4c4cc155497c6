"""Trajectories: a camera and a time of the scene for every frame of a video."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import nearest_frames, transform_cameras
from ds4d.scene import FOVY_DEG, Scene, Timeline, viewing_distance
from ds4d.types import Cameras
from ds4d.visualize.camera_paths import fixed_path, orbit_path
from ds4d.visualize.config import OutputsConfig, check_frame_count
from ds4d.visualize.keyframes import Keyframe, keyframe_path


@dataclass(frozen=True)
class Trajectory:
    """The cameras and times of a video.

    Attributes:
        cameras: one camera per frame, [F, 1], in normalized space.
        times: time of the scene at each frame, in [0, 1].
        repeats: how many times the frames are played.
    """

    cameras: Cameras
    times: Float[Tensor, " F"]
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.cameras.viewmats.shape[:-2] != (len(self.times), 1):
            raise ValueError(
                f"Trajectory: cameras must be one per time, [{len(self.times)}, 1], got "
                f"{list(self.cameras.viewmats.shape[:-2])}."
            )
        if not ((self.times >= 0) & (self.times <= 1)).all():
            raise ValueError(
                f"Trajectory: times must be in [0, 1], got {float(self.times.min())} to {self.times.max()}."
            )


def playing_times(timeline: Timeline, config: OutputsConfig) -> Float[Tensor, " F"]:
    """The time of the scene at each video frame while it plays once, from 0 to 1.

    A scene of a single frame has a single time. Looping scenes leave out time 1, which equals time 0.
    """
    if len(timeline.times) == 1:
        return torch.zeros(1)
    check_frame_count("slow", timeline.duration * config.slow * config.fps)
    count = max(2, round(timeline.duration * config.slow * config.fps))
    return torch.linspace(0, 1, count + 1)[:-1] if timeline.loops else torch.linspace(0, 1, count)


def orbit_trajectory(scene: Scene, config: OutputsConfig) -> Trajectory:
    """A camera that orbits the object while the scene plays, a whole number of times if it loops."""
    period = playing_times(scene.timeline, config)
    count = _min_frames(config)
    if scene.timeline.loops:
        count = len(period) * _divide_up(count, len(period))
    cameras = orbit_path(
        count,
        elevation_deg=config.elevation_deg,
        fovy_deg=FOVY_DEG,
        distance=viewing_distance(scene),
        size=config.size,
        turns=config.turns,
    )
    return Trajectory(cameras, _repeated(period, count))


def fixed_trajectory(scene: Scene, config: OutputsConfig, azimuth_deg: float) -> Trajectory:
    """A fixed camera while the scene plays a whole number of times."""
    times = playing_times(scene.timeline, config)
    cameras = fixed_path(
        len(times),
        azimuth_deg=azimuth_deg,
        elevation_deg=config.elevation_deg,
        fovy_deg=FOVY_DEG,
        distance=viewing_distance(scene),
        size=config.size,
    )
    return Trajectory(cameras, times, repeats=_divide_up(_min_frames(config), len(times)))


def keyframe_trajectory(scene: Scene, config: OutputsConfig, keyframes: Sequence[Keyframe]) -> Trajectory:
    """A camera along key frames; the video ends with the last. Without times, the scene plays at its own speed."""
    check_frame_count("at of the last key frame", keyframes[-1].at * config.fps)
    count = max(1, round(keyframes[-1].at * config.fps) + 1)
    seconds = torch.arange(count) / config.fps
    cameras, times = keyframe_path(
        keyframes, seconds, fovy_deg=FOVY_DEG, distance=viewing_distance(scene), size=config.size
    )
    if times is None:
        times = _repeated(playing_times(scene.timeline, config), count)
    return Trajectory(cameras, times)


def input_trajectory(
    scene: Scene, config: OutputsConfig, cameras: Cameras, times: Float[Tensor, " T"], height: int
) -> Trajectory:
    """The camera of the input view while the scene plays; between two input frames, the camera of the nearer one.

    Args:
        scene: the scene to render.
        config: speed and minimum length of the video.
        cameras: cameras of the input frames, [T, 1], in world space.
        times: times of the input frames, in [0, 1].
        height: height of the images, pixels; they keep the aspect ratio of the input.
    """
    playing = playing_times(scene.timeline, config)
    low, high, weight = nearest_frames(times, playing)
    frames = torch.where(weight > 0.5, high, low)
    normalized = transform_cameras(scene.world, cameras.select(frames, torch.zeros_like(frames)))
    width = max(1, round(height * cameras.width / cameras.height))
    repeats = _divide_up(_min_frames(config), len(playing))
    return Trajectory(normalized.resized(width, height), playing, repeats=repeats)


def _min_frames(config: OutputsConfig) -> int:
    """The number of frames of the shortest video that is long enough."""
    return max(1, round(config.seconds * config.fps))


def _divide_up(count: int, period: int) -> int:
    return -(-count // period)


def _repeated(period: Float[Tensor, " P"], count: int) -> Float[Tensor, " F"]:
    """The first `count` values of a periodic sequence."""
    return period.repeat(_divide_up(count, len(period)))[:count]
