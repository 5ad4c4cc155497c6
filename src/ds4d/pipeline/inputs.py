"""From the path that the user gives, a video or a folder of multi-view frames, to the video that is trained on.

A video is matted and framed, and a view generator adds views to it. A folder of multi-view frames is used as it is; if
it has a single static view, or if a view generator is requested, views are added to its input view, whose camera is
kept.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from numpy import ndarray

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, Warned, notify
from ds4d.data import POINTS_FILE, check_masks, is_view_folder, load_views, refuse_options
from ds4d.data.combining import view_weights, with_weights_of_input
from ds4d.geometry import (
    RIGS,
    UP_AXES,
    frame_times,
    inverse_similarity,
    rig_cameras,
    rotation_to_y,
    transform_cameras,
    transform_points,
)
from ds4d.multiview import (
    ViewsConfig,
    ViewsSource,
    check_flipbook,
    choose_generator,
    find_views,
    generate_once,
    input_view_only,
    make_generator,
    unused_settings,
    without_cuts,
)
from ds4d.preprocess import CropBox, Finding, VideoConfig, VideoCrop, load_video
from ds4d.preprocess.stabilization import Matrix
from ds4d.preprocess.tracks import with_depths
from ds4d.shapes import read_points
from ds4d.types import Cameras, Frames, GeneratedViews, MultiViewVideo, PointCloud, Similarity, Video

_MOST_POINTS = 1_000_000
_LEAST_SPAN, _FEW_SIDES = 5.0, 60.0  # degrees between directions that a camera looks in


@dataclass(frozen=True)
class TrainingInput:
    """The video to train on, and what is known about it.

    Attributes:
        video: frames and cameras of all training views, in world space.
        source: source of the views, never `auto`.
        description: the same in a few words.
        points: surface points of the object in the middle frame, if the view generator knows its shape.
        crop: crop of the input video that the frames show; None for a folder of views.
        findings: results of the checks of an input video, the most severe first; None for a folder of views.
        alignment: how the frames of an input video were aligned (`Stabilization.matrices`); none if they were not.
    """

    video: MultiViewVideo
    source: ViewsSource
    description: str
    points: PointCloud | None = None
    crop: CropBox | None = None
    findings: tuple[Finding, ...] | None = None
    alignment: tuple[Matrix, ...] = ()

    @property
    def video_crop(self) -> VideoCrop | None:
        """The crop of the input video with its camera; None for a folder of views."""
        if self.crop is None:
            return None
        cameras = self.video.cameras
        viewmat, K = (tuple(map(tuple, matrix[0, 0].tolist())) for matrix in (cameras.viewmats, cameras.Ks))
        return VideoCrop(self.crop, viewmat, K, self.alignment)


def read_input(
    path: str | Path, config: GenerateConfig, device: torch.device, *, make_views: bool = True
) -> TrainingInput:
    """Reads an input, checks its masks, and adds generated views if it needs them.

    Args:
        path: a video, or a folder of multi-view frames (`ds4d.data.load_views`).
        config: how the input is read, and how views are generated.
        device: compute device of the view generator.
        make_views: whether views that are not in the cache are generated; if not, the input view is returned alone,
            with a notice.

    Raises:
        ValueError: the input cannot be used, or an option does not apply to it.
        ImportError: a package that the input or the view generator needs is not installed.
    """
    path, source = Path(path), config.views.source
    if config.video.cameras is not None:
        return _read_posed_video(path, config)
    if make_views:
        check_flipbook(config.views)
    if not (source == "folder" or is_view_folder(path)):
        return _read_video(path, config, device, make_views)
    refuse_options(config.views, ("elevation", "fovy"), f"{path} is a folder of views with its cameras")
    video = load_views(path, config.views)
    check_masks(video)
    is_single = video.num_views == 1 and video.cameras.is_static and bool(video.valid.all())
    is_complete = source == "folder" or (source == "auto" and not is_single)
    # Generated views are matted, too, so their matting model is no option of videos alone.
    unused = {field.name for field in fields(VideoConfig)} - (set() if is_complete else {"matting_model"})
    refuse_options(config.video, sorted(unused), f"{path} is a folder of views")
    if not is_complete:
        return _add_views(video, config, device, make_views)
    if is_single:
        notify(Warned("input", f"{path} has one static view: the other sides of the object are unknown."))
    return TrainingInput(video, "folder", f"{video.num_views} views of the folder", points=_read_points(path))


def _read_points(folder: Path) -> PointCloud | None:
    """The surface points that `write_views` stores beside the views of a generator that knows the shape."""
    path = folder / POINTS_FILE
    if not path.is_file():
        return None
    positions, colors = read_points(path, _MOST_POINTS, torch.Generator().manual_seed(0))
    return PointCloud(positions, torch.full_like(positions, 0.5) if colors is None else colors)


def _read_video(path: Path, config: GenerateConfig, device: torch.device, make_views: bool) -> TrainingInput:
    """A video with generated views."""
    views = config.views
    refuse_options(views, ("splits", "rig", "up"), f"{path} is a video")
    follow = config.video.follow if make_views else "off"  # nothing is fitted
    settings = replace(config.video, size=views.size or config.video.size, fps=views.fps, follow=follow)
    loaded = load_video(path, settings)
    _warn_of(loaded.findings, path)
    video = loaded.video
    if (views.elevation, views.fovy) != (ViewsConfig.elevation, ViewsConfig.fovy):
        view = replace(RIGS["stag4d"][0], elevation=views.elevation, fovy=views.fovy)
        video = replace(video, camera=rig_cameras((view,), video.frames.width, video.frames.height))
    generated = _generate(video, config, device, make_views)
    check_masks(generated.video)
    if loaded.weights is not None:
        generated = replace(generated, video=with_weights_of_input(generated.video, loaded.weights))
    return replace(generated, crop=loaded.crop, findings=loaded.findings, alignment=loaded.alignment)


def _read_posed_video(path: Path, config: GenerateConfig) -> TrainingInput:
    """A video whose camera moves along known poses; it shows the object from many sides, and no views are added."""
    views = config.views
    if is_view_folder(path):
        raise ValueError(
            f"--cameras must not be given, got {config.video.cameras}: {path} has its cameras. Leave it out."
        )
    if views.source not in ("auto", "folder"):  # a run's own settings name `folder` once they are resolved
        raise ValueError(f"--views must not be given with --cameras, got {views.source}. Leave one of them out.")
    refuse_options(views, ("splits", "rig", "elevation", "fovy", "generated_weight"), f"{path} has its own cameras")
    loaded = load_video(path, replace(config.video, size=views.size or config.video.size, fps=views.fps))
    _warn_of(loaded.findings, path)
    assert loaded.cameras is not None
    seen_deg = _span_deg(loaded.cameras)
    if seen_deg < _LEAST_SPAN:
        raise ValueError(
            f"--cameras {config.video.cameras} must hold a camera that moves around the object, got directions within "
            f"{seen_deg:.1f} degrees. Leave it out: the other sides are generated then."
        )
    if seen_deg < _FEW_SIDES:
        notify(
            Warned(
                "input",
                f"{path}: the camera sees the object from directions within {seen_deg:.0f} degrees. Its other sides "
                "are unknown, and its depth is uncertain. Walk further around it.",
            )
        )
    frames, count = loaded.video.frames, loaded.video.num_times
    video = MultiViewVideo(
        frames=frames,
        cameras=loaded.cameras,
        valid=torch.ones(count, 1, dtype=torch.bool),
        times=frame_times(count),
        view_names=("front",),
        view_weights=torch.ones(1),
        pixel_weights=None if loaded.weights is None else loaded.weights[:, None],
        duration=count / loaded.video.fps,
        up=views.up,
    )
    check_masks(video)
    return TrainingInput(video, "folder", f"none but the video, from {count} known poses", findings=loaded.findings)


def _span_deg(cameras: Cameras) -> float:
    """The largest angle between the directions of two cameras, degrees."""
    axes = cameras.viewmats[:, 0, 2, :3]
    return math.degrees(math.acos(float((axes @ axes.T).clamp(-1, 1).min())))


def _warn_of(findings: Sequence[Finding], path: Path) -> None:
    for finding in findings:
        if finding.severity == "warning":
            notify(Warned("input", f"{path}: {finding}"))


def _add_views(video: MultiViewVideo, config: GenerateConfig, device: torch.device, make_views: bool) -> TrainingInput:
    """The input view of a folder with generated views, in the world of the folder."""
    cameras = video.cameras[:, :1]
    if not (cameras.is_static and video.valid[:, 0].all()):
        raise ValueError(
            f"view {video.view_names[0]!r} must have a static camera and an image of every frame for views to be "
            "generated from it, got one that has not. Train on the views of the folder: --views folder."
        )
    upright = Similarity(1.0, rotation_to_y(torch.tensor(UP_AXES[video.up])), torch.zeros(3))
    camera = transform_cameras(upright, cameras.at_time(0))
    input_view = Video(_InputView(video.frames), video.num_times / video.duration, camera)
    generated = _generate(input_view, config, device, make_views)
    back = inverse_similarity(upright)
    video = replace(
        generated.video,
        cameras=transform_cameras(back, generated.video.cameras),
        times=video.times,
        loops=video.loops,
        up=video.up,
    )
    points = generated.points and replace(
        generated.points, positions=transform_points(back, generated.points.positions)
    )
    return replace(generated, video=video, points=points)


class _InputView:
    """The `Frames` of the input view alone."""

    num_views = 1

    def __init__(self, frames: Frames) -> None:
        self.num_times, self.width, self.height = frames.num_times, frames.width, frames.height
        self._frames = frames

    def read(self, time: int, view: int) -> UInt8[ndarray, "H W 4"]:
        """One image of the view, unchanged."""
        return self._frames.read(time, 0)


def _generate(video: Video, config: GenerateConfig, device: torch.device, make_views: bool) -> TrainingInput:
    """The video with generated views, in the world of its camera, and its tracks at their depths."""
    name, why = choose_generator(config.views, device)
    if config.views.source == "auto" and config.allow_missing_weights is False:
        name, why = "zero123plus", "required"  # of a folder, only its content tells that views are generated
    if make_views:
        for other in unused_settings(config.views, name):
            notify(
                Warned("views", f"settings of {other} change nothing, as {name} makes the views. Add --views {other}.")
            )
        generator = make_generator(name, config.views, device, matting_model=config.video.matting_model)
        generated = generate_once(generator, video, seed=config.seed)
    else:
        generated = _find_views(name, video, config, device)
    if make_views:
        generated = without_cuts(generated)
    if config.views.generated_weight is not None:
        weights = view_weights(generated.video.num_views, config.views.generated_weight)
        generated = replace(generated, video=replace(generated.video, view_weights=weights))
    if video.tracks is not None:
        tracks = with_depths(video.tracks, generated.depths)
        generated = replace(generated, video=replace(generated.video, tracks=tracks))
    return TrainingInput(generated.video, name, f"{name} ({why})", points=generated.points)


def _find_views(name: str, video: Video, config: GenerateConfig, device: torch.device) -> GeneratedViews:
    """The video with its views in the cache; the video alone, with a notice, if they are not there."""
    # A generator without its weights or a package cannot be made, and what it generated cannot be looked up.
    with contextlib.suppress(ValueError, ImportError):
        generator = make_generator(name, config.views, device, matting_model=config.video.matting_model)
        # The flow of the clip, which takes longer than all else here, is not computed to look views up.
        for is_tracked in (False,) if config.video.follow == "off" else (True, False):
            if generated := find_views(generator, video, seed=config.seed, is_tracked=is_tracked):
                return generated
    notify(Degraded("views", f"views generated by {name} are not in the cache: only the input view is shown."))
    return input_view_only(video)
