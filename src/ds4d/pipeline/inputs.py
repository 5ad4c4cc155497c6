"""From what the user names, a video or a folder of views, to a clip from several sides.

A video is cut out and framed, and a generator makes further views of it. A folder of views is taken as it is; if it has
but one still view, or if a generator is asked for, its front view is the video, with its own camera.
"""

import contextlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ds4d.config import GenerateConfig
from ds4d.data import POINTS_FILE, ViewsConfig, ViewsSource, check_masks, holds_views, load_views
from ds4d.data.image_sizes import confidence
from ds4d.geometry import RIGS, inverse_similarity, rig_cameras, rotation_to_y, transform_cameras, transform_points
from ds4d.init import UP_AXES, read_points
from ds4d.multiview import GENERATORS, find_views, front_alone, generate_once
from ds4d.preprocess import Finding, Framing, VideoConfig, VideoCrop, load_video
from ds4d.types import Frames, GeneratedViews, MultiViewVideo, PointCloud, Similarity, Video
from ds4d.weights import MODELS, find_model

_MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class TrainingInput:
    """An input, ready to be fitted.

    Attributes:
        video: the clip, in the user's world.
        points: the object at its middle frame, where a generator knows its shape.
        framing: where a video's images lie in it.
        views: where its views come from, never `auto`.
        used: the same, in a few words.
        findings: what was found about a video, the worst first; None where the input is a folder of views.
    """

    video: MultiViewVideo
    points: PointCloud | None
    framing: Framing | None
    views: ViewsSource
    used: str
    findings: tuple[Finding, ...] | None = None

    @property
    def video_crop(self) -> VideoCrop | None:
        """How the images lie in their video, if they come from one."""
        if self.framing is None:
            return None
        cameras = self.video.cameras
        viewmat, K = (tuple(map(tuple, matrix[0, 0].tolist())) for matrix in (cameras.viewmats, cameras.Ks))
        return VideoCrop(self.framing, viewmat, K)


class FrontFrames:
    """The `Frames` of a clip's first view alone."""

    num_views = 1

    def __init__(self, frames: Frames) -> None:
        self.num_times, self.width, self.height = frames.num_times, frames.width, frames.height
        self._frames = frames

    def read(self, time: int, view: int) -> Any:
        """One image, as the clip gives it."""
        return self._frames.read(time, 0)


def read_input(
    source: str | Path, config: GenerateConfig, device: torch.device, *, make_views: bool = True
) -> TrainingInput:
    """The clip that an input holds, or that a generator makes of it, its masks checked.

    Args:
        source: a video, or a folder of views (`ds4d.data.load_views`).
        config: how it is read, and what makes its views.
        device: where a generator works.
        make_views: whether a generator makes the views that it has not made before; else a video whose views are not
            on disk keeps its real view alone, with a warning.

    Raises:
        ValueError: the input is unfit, or an option does not apply to it; the message names what and the mend.
        ImportError: a package that the input or the generator needs is not installed.
    """
    path, asked = Path(source), config.views.views
    if not (asked == "folder" or holds_views(path)):
        return _from_video(path, config, device, make_views)
    clip = load_views(path, config.views)
    check_masks(clip)
    is_video = clip.num_views == 1 and clip.cameras.is_static and bool(clip.valid.all())
    is_whole = asked == "folder" or (asked == "auto" and not is_video)
    # Views that are made are cut out, too.
    unread = config.video if is_whole else replace(config.video, matting_model=None)
    if unread != VideoConfig():
        raise ValueError(f"options of videos must not be given here: {path} is a folder of views. Leave them out.")
    if is_whole:
        if is_video:
            warnings.warn(f"{path} shows the object from one still side: the others are unknown.", stacklevel=2)
        return TrainingInput(clip, _points_beside(path), None, "folder", f"the folder's {clip.num_views}")
    return _from_front(clip, config, device, make_views)


def _points_beside(folder: Path) -> PointCloud | None:
    """The surface at the middle frame that `ds4d multiview` leaves beside the views of a generator that knows it."""
    path = folder / POINTS_FILE
    if not path.is_file():
        return None
    positions, colors = read_points(path, _MOST_POINTS, torch.Generator().manual_seed(0))
    return PointCloud(positions, torch.full_like(positions, 0.5) if colors is None else colors)


def _from_video(path: Path, config: GenerateConfig, device: torch.device, make_views: bool) -> TrainingInput:
    asked = config.views
    asked.refuse_set(("splits", "rig", "up"), f"{path} is a video")
    loaded = load_video(path, replace(config.video, size=asked.size or config.video.size, fps=asked.fps))
    video = loaded.video
    if (asked.elevation, asked.fovy) != (ViewsConfig.elevation, ViewsConfig.fovy):
        front = replace(RIGS["stag4d"][0], elevation=asked.elevation, fovy=asked.fovy)
        video = replace(video, camera=rig_cameras((front,), video.frames.width, video.frames.height))
    made, name, used = _generate(video, config, device, make_views)
    check_masks(made.video)
    return TrainingInput(made.video, made.points, loaded.framing, name, used, loaded.findings)


def _from_front(clip: MultiViewVideo, config: GenerateConfig, device: torch.device, make_views: bool) -> TrainingInput:
    """Views of a clip's front view, whose camera and world are kept."""
    front = clip.cameras[:, :1]
    if not (front.is_static and clip.valid[:, 0].all()):
        raise ValueError(
            f"the camera of view {clip.view_names[0]!r} must stand still and show every frame, to have further views "
            "made of it, got one that does not. Fit the folder's own views: --views folder."
        )
    upright = Similarity(1.0, rotation_to_y(torch.tensor(UP_AXES[clip.up])), torch.zeros(3))
    input_video = Video(
        FrontFrames(clip.frames), clip.num_times / clip.duration, transform_cameras(upright, front.at_time(0))
    )
    made, name, used = _generate(input_video, config, device, make_views)
    back = inverse_similarity(upright)
    video = replace(
        made.video, cameras=transform_cameras(back, made.video.cameras), times=clip.times, loops=clip.loops, up=clip.up
    )
    points = made.points and replace(made.points, positions=transform_points(back, made.points.positions))
    return TrainingInput(video, points, None, name, used)


def choose_generator(config: GenerateConfig, device: torch.device) -> tuple[ViewsSource, str]:
    """The generator that is asked for, or else the best at hand for the device: its key in `GENERATORS`, and why."""
    if config.views.views != "auto":
        return config.views.views, "as asked"
    found = find_model(MODELS[f"zero123plus-{config.zero123plus.version}"], config.zero123plus.folder)
    if found is None:
        return "inflate", "embedded; zero123plus weights not found, see ds4d weights"
    if device.type == "cpu":
        return "inflate", "embedded; zero123plus takes hours on a CPU: --views zero123plus to have it all the same"
    return "zero123plus", f"from {found}"


def _generate(
    video: Video, config: GenerateConfig, device: torch.device, make_views: bool
) -> tuple[GeneratedViews, ViewsSource, str]:
    """Further views of a video, what made them, and that in a few words."""
    settings = {
        "inflate": (config.inflate, device),
        "zero123plus": (config.zero123plus, device, config.video.matting_model),
    }
    name, why = choose_generator(config, device)
    if make_views:
        made = generate_once(GENERATORS[name](*settings[name]), video, seed=config.seed)
    else:
        made = _find(name, settings[name], video, config.seed)
    if config.views.generated_weight is not None:
        weights = confidence(made.video.num_views, config.views.generated_weight)
        made = replace(made, video=replace(made.video, view_weights=weights))
    return made, name, f"{name} ({why})"


def _find(name: str, settings: tuple[Any, ...], video: Video, seed: int) -> GeneratedViews:
    """The views that a generator has made of a video before, or the video alone."""
    # Without its weights, or a package that it runs on, nobody knows what they would have made.
    with contextlib.suppress(ValueError, ImportError):
        if found := find_views(GENERATORS[name](*settings), video, seed=seed):
            return found
    warnings.warn(f"the views by {name} are not kept here: the real view is shown alone.", stacklevel=2)
    return front_alone(video)
