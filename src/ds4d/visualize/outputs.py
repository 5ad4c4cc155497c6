"""What a finished scene is shown by: videos, a contact sheet, and its Gaussians as a file."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.export import write_ply
from ds4d.geometry import into_world, nearest_frames, transform_cameras
from ds4d.io import contact_sheet, on_white, resize_premultiplied, write_png, write_video
from ds4d.scene import Scene, Timeline, draw_rgb
from ds4d.types import Cameras, MultiViewVideo, Renderer
from ds4d.visualize.camera_paths import SIDES, fixed_path, orbit_path
from ds4d.visualize.keyframes import Keyframe, keyframe_path
from ds4d.visualize.videos import Trajectory, render_video

FOVY_DEG = 33.9  # full vertical field of view of all cameras here
_MARGIN = 1.1
_FAR_OUT = 0.998  # share of the Gaussians that must be seen; stray ones shall not make the object small


@dataclass(frozen=True)
class OutputsConfig:
    """The images and videos of a run.

    Attributes:
        size: height and width of the videos, pixels.
        fps: frames per second of the videos.
        seconds: least length of each video; the clip plays again and again.
        slow: how many times slower than recorded the clip plays.
        turns: of the orbiting camera.
        elevation_deg: of all cameras, positive from above.
        sheet_size: height and width of the contact sheet's images, pixels.
        sheet_columns: times shown in the contact sheet.
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
        check_ranges(self, size="[1, inf)", fps="(0, inf)", seconds="(0, inf)", slow="(0, inf)", turns="(-inf, inf)")
        check_ranges(self, elevation_deg="[-90, 90]", sheet_size="[1, inf)", sheet_columns="[1, inf)")


def write_outputs(
    scene: Scene, video: MultiViewVideo, renderer: Renderer, config: OutputsConfig, folder: Path
) -> Iterator[Path]:
    """Writes all images and videos, one after the other, and yields the path of each when it is there.

    Args:
        scene: what was fitted.
        video: what it was fitted to, in the inner world, for comparison.
        renderer: the splatter for the scene's device.
        config: sizes and lengths.
        folder: exists.
    """
    writers: dict[str, Callable[[Path], None]] = {
        "contact_sheet.png": lambda path: write_png(path, compare_views(scene, video, renderer, config)),
        "comparison.mp4": lambda path: write_comparison(path, scene, video, renderer, config),
        "orbit.mp4": lambda path: write_orbit(path, scene, renderer, config),
    }
    for side, azimuth_deg in SIDES.items():
        writers[f"{side}.mp4"] = lambda path, azimuth_deg=azimuth_deg: write_fixed(
            path, scene, renderer, config, azimuth_deg
        )
    writers["middle.ply"] = lambda path: write_middle(path, scene)
    for name, write in writers.items():
        if written := write_if_possible(folder / name, write):
            yield written


def write_if_possible(path: Path, write: Callable[[Path], None]) -> Path | None:
    """Writes one file and returns its path; where a package for it is missing, warns and returns None."""
    try:
        write(path)
    except ImportError as error:
        warnings.warn(f"{path.name} is not written: {error}", stacklevel=2)
        return None
    return path


def write_comparison(
    path: Path, scene: Scene, video: MultiViewVideo, renderer: Renderer, config: OutputsConfig
) -> None:
    """A video of the clip's frames from the real view's camera: the input on the left, the object on the right."""
    width, height = fitting_size(video.frames.width, video.frames.height, config.size)
    frames = torch.arange(video.num_times)
    cameras = video.cameras.select(frames, torch.zeros_like(frames)).resized(width, height)
    drawn = draw_rgb(scene, renderer, cameras, video.times)
    pairs = (
        np.concatenate((input_image(video, time, 0, width, height), image), axis=1) for time, image in enumerate(drawn)
    )
    write_video(path, pairs, video.num_times / (video.duration * config.slow))


def write_orbit(path: Path, scene: Scene, renderer: Renderer, config: OutputsConfig) -> None:
    """A video in which time plays while the camera turns round the object."""
    render_video(path, scene, renderer, orbit_trajectory(scene, config), config.fps)


def write_fixed(path: Path, scene: Scene, renderer: Renderer, config: OutputsConfig, azimuth_deg: float) -> None:
    """A video from a camera that stands still; the clip plays whole, as often as the video's length asks."""
    render_video(path, scene, renderer, fixed_trajectory(scene, config, azimuth_deg), config.fps)


def orbit_trajectory(scene: Scene, config: OutputsConfig) -> Trajectory:
    """A camera that turns round the object while time plays; whole clips where the clip loops."""
    period = playing_times(scene.timeline, config)
    count = _least_count(config)
    if scene.timeline.loops:
        count = len(period) * -(-count // len(period))
    cameras = orbit_path(
        count,
        elevation_deg=config.elevation_deg,
        fovy_deg=FOVY_DEG,
        distance=viewing_distance(scene),
        size=config.size,
        turns=config.turns,
    )
    return Trajectory(cameras, period.repeat(-(-count // len(period)))[:count])


def fixed_trajectory(scene: Scene, config: OutputsConfig, azimuth_deg: float) -> Trajectory:
    """A camera that stands still while the clip plays whole, as often as the video's length asks."""
    times = playing_times(scene.timeline, config)
    cameras = _fixed_cameras(scene, config, len(times), azimuth_deg, config.size)
    return Trajectory(cameras, times, repeats=-(-_least_count(config) // len(times)))


def keyframe_trajectory(scene: Scene, config: OutputsConfig, keyframes: Sequence[Keyframe]) -> Trajectory:
    """A camera that goes from key frame to key frame, for as long as they last; the clip plays as they say, or on."""
    count = max(1, round(keyframes[-1].at * config.fps) + 1)
    seconds = torch.arange(count) / config.fps
    cameras, times = keyframe_path(
        keyframes, seconds, fovy_deg=FOVY_DEG, distance=viewing_distance(scene), size=config.size
    )
    if times is None:
        period = playing_times(scene.timeline, config)
        times = period.repeat(-(-count // len(period)))[:count]
    return Trajectory(cameras, times)


def input_trajectory(
    scene: Scene, config: OutputsConfig, cameras: Cameras, times: Float[Tensor, " T"], height: int
) -> Trajectory:
    """The camera of the real video while the clip plays; between its frames, that of the nearer one.

    Args:
        scene: what is drawn.
        config: speed and least length.
        cameras: of the real video's frames, [T, 1], in the user's world.
        times: of these frames.
        height: of the images, pixels; they keep the input's shape.
    """
    playing = playing_times(scene.timeline, config)
    low, high, share = nearest_frames(times, playing)
    frames = torch.where(share > 0.5, high, low)
    inner = transform_cameras(scene.world, cameras.select(frames, torch.zeros_like(frames)))
    width = max(1, round(height * cameras.width / cameras.height))
    return Trajectory(inner.resized(width, height), playing, repeats=-(-_least_count(config) // len(playing)))


def write_middle(path: Path, scene: Scene) -> None:
    """The Gaussians of the middle frame in the user's world, as PLY."""
    with torch.no_grad():
        raw = scene.raw_at(torch.tensor(scene.timeline.times, device=scene.device)[[scene.timeline.middle]])
    write_ply(into_world(raw.at_time(0), scene.world), path)


def playing_times(timeline: Timeline, config: OutputsConfig) -> Float[Tensor, " F"]:
    """Times of the frames of a video that plays the timeline once, from 0 to 1; one time if there is one frame.

    A looping video leaves out time 1, which is time 0 of the next repetition.
    """
    if len(timeline.times) == 1:
        return torch.zeros(1)
    count = max(2, round(timeline.duration * config.slow * config.fps))
    return torch.linspace(0, 1, count + 1)[:-1] if timeline.loops else torch.linspace(0, 1, count)


def viewing_distance(scene: Scene) -> float:
    """How far from the origin a camera sees the whole object at all times, from every side; inner units."""
    times = torch.linspace(0, 1, min(8, len(scene.timeline.times)), device=scene.device)
    with torch.no_grad():
        reach = scene.raw_at(times).means.norm(dim=-1).flatten().quantile(_FAR_OUT)
    return _MARGIN * float(reach) / math.sin(0.5 * math.radians(FOVY_DEG))


def compare_views(
    scene: Scene, video: MultiViewVideo, renderer: Renderer, config: OutputsConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """A contact sheet over time: two of the input views above their renderings, then the four sides."""
    columns = min(config.sheet_columns, video.num_times)
    frames = torch.linspace(0, video.num_times - 1, columns).round().long()
    times = video.times[frames]
    rows: dict[str, list[UInt8[np.ndarray, "H W 3"]]] = {}
    for view in sorted({0, video.num_views // 2}):
        name = video.view_names[view]
        width, height = fitting_size(video.frames.width, video.frames.height, config.sheet_size)
        cameras = video.cameras.select(frames, torch.full_like(frames, view)).resized(width, height)
        drawn = draw_rgb(scene, renderer, cameras, times)
        rows[f"{name} (input)"] = [
            _square(input_image(video, int(i), view, width, height), config.sheet_size) for i in frames
        ]
        rows[f"{name} (ours)"] = [_square(image, config.sheet_size) for image in drawn]
    for side, azimuth_deg in SIDES.items():
        cameras = _fixed_cameras(scene, config, columns, azimuth_deg, config.sheet_size)
        rows[side] = list(draw_rgb(scene, renderer, cameras, times))
    labels = [f"t = {time:.2f}" for time in times.tolist()]
    return contact_sheet(list(rows.values()), column_labels=labels, row_labels=list(rows))


def _least_count(config: OutputsConfig) -> int:
    """How many frames fill a video's least length."""
    return max(1, round(config.seconds * config.fps))


def _fixed_cameras(scene: Scene, config: OutputsConfig, count: int, azimuth_deg: float, size: int) -> Cameras:
    return fixed_path(
        count,
        azimuth_deg=azimuth_deg,
        elevation_deg=config.elevation_deg,
        fovy_deg=FOVY_DEG,
        distance=viewing_distance(scene),
        size=size,
    )


def fitting_size(width: int, height: int, size: int) -> tuple[int, int]:
    """The largest image of this shape inside a square of `size`."""
    scale = size / max(width, height)
    return max(1, round(scale * width)), max(1, round(scale * height))


def input_image(video: MultiViewVideo, time: int, view: int, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """One image of the clip on white; all white where the view has none."""
    if not video.valid[time, view]:
        return np.full((height, width, 3), 255, np.uint8)
    return on_white(resize_premultiplied(np.array(video.frames.read(time, view)), width, height))


def _square(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """The image in the middle of a white square."""
    height, width = image.shape[:2]
    out = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    out[top : top + height, left : left + width] = image
    return out
