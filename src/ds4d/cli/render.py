"""`ds4d render`: images at the cameras of a transforms file, or a video."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import UInt8

from ds4d.cli.backgrounds import read_background
from ds4d.cli.loops import with_jump
from ds4d.cli.options import check_times, option, refuse_set
from ds4d.cli.outcome import Outcome, page_command
from ds4d.cli.overwriting import claim, claim_frames, leave_alone
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import DeviceName, choose_device, tracked
from ds4d.data import TransformsFrame, load_views, read_transforms
from ds4d.evaluation import render_frames
from ds4d.io import write_png
from ds4d.rendering import renderer_for
from ds4d.runs import RunFolder, read_record
from ds4d.scene import DynamicGaussians, LoopedScene, Scene
from ds4d.types import Cameras, Renderer
from ds4d.visualize import (
    OPAQUE,
    SUFFIXES,
    OutputsConfig,
    Trajectory,
    crop_cameras,
    fixed_trajectory,
    input_trajectory,
    keyframe_trajectory,
    orbit_trajectory,
    overlay_video,
    read_keyframes,
    read_source_video,
    render_trajectory,
    render_video,
)

# Options of videos that each way of recording does not read.
_UNREAD = {
    "transforms": ("elevation", "fps", "seconds", "slow", "time", "loop", "background"),
    "over": ("elevation", "fps", "seconds", "slow", "time", "loop", "background"),
    "keyframes": ("elevation", "seconds", "time"),
    "input_camera": ("elevation",),
}


@dataclass(frozen=True)
class RenderArguments(ScreenOptions):
    """Draws a generated object: images at the cameras of a transforms file, or a video.

    Give one of --transforms, --orbit, --azimuth, --keyframes, --input-camera and --over. Videos are .mp4, .mkv, .mov
    (H.264), .webm (VP9, transparent), .gif, or a folder of frame0001.png and so on (transparent).

    Attributes:
        run: folder of the run.
        output: file of the video; a name without an ending is a folder of images.
        transforms: draw every frame of this transforms json, at its camera, size and time, as <file_path>.png: RGBA
            with straight alpha.
        orbit: video in which time plays while the camera turns once round the object.
        azimuth: video from this side, in degrees: 0 front, 90 right, 180 back, 270 left.
        keyframes: video along the key frames of this json file, a list of objects with the keys at (seconds), azimuth,
            elevation, zoom and time.
        input_camera: video from the camera of the real video.
        over: lay the object over this video, the one the run was made of, where it was recorded; a video of its size and
            speed.
        elevation: of the video's camera, in degrees, positive from above.
        size: height and width of the video in pixels, 512 if not given; with --input-camera its height, the input's if
            not given; with --transforms, of frames for which the file gives no size; with --over, of the drawing
            before it is put into the video.
        fps: frames per second of the video.
        seconds: least length of the video; the clip plays again and again.
        slow: how many times slower than recorded the clip plays; between frames the motion is asked for its own time.
        time: let time stand still at this moment, in [0, 1], while the camera moves.
        loop: blend the end of the clip into its start. A clip that is known to loop always is.
        background: a color (white, #rrggbb) or an image behind the object; white if not given, or nothing in videos
            that can be transparent.
        force: replace files that are there.
        device: where to work; auto takes CUDA where it can be used.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    transforms: Path | None = None
    orbit: bool = False
    azimuth: float | None = None
    keyframes: Path | None = None
    input_camera: bool = False
    over: Path | None = None
    elevation: float = OutputsConfig.elevation_deg
    size: int | None = None
    fps: float = OutputsConfig.fps
    seconds: float = OutputsConfig.seconds
    slow: float = OutputsConfig.slow
    time: float | None = None
    loop: bool = False
    background: str | None = None
    force: bool = False
    device: DeviceName = "auto"


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(RenderArguments, args=list(words), prog="ds4d render")
    way = _check_choice(arguments)
    RunFolder(arguments.run).check_scene()
    device = choose_device(arguments.device)
    renderer = renderer_for(device)
    scene = DynamicGaussians.load(arguments.run, device)
    return replace(_draw(way, arguments, scene, renderer), next=[page_command(arguments.run)])


def _draw(way: str, arguments: RenderArguments, scene: DynamicGaussians, renderer: Renderer) -> Outcome:
    if way == "transforms":
        return Outcome(wrote=_write_images(arguments, scene, renderer))
    if arguments.over is not None:
        return Outcome(wrote=_write_overlay(arguments, scene, renderer, arguments.over))
    playing = LoopedScene(scene) if arguments.loop or scene.timeline.loops else scene
    outcome = Outcome(wrote=_write_video_file(arguments, playing, renderer, _trajectory(way, arguments, playing)))
    return with_jump(outcome, scene) if arguments.loop else outcome


def _check_choice(arguments: RenderArguments) -> str:
    """The way of recording: one, and only the options that it reads."""
    ways = ("transforms", "orbit", "azimuth", "keyframes", "input_camera", "over")
    given = [way for way in ways if getattr(arguments, way) is not None and getattr(arguments, way) is not False]
    if len(given) != 1:
        got = " and ".join(map(option, given)) or "none"
        raise ValueError(f"ds4d render must be given one of {', '.join(map(option, ways))}, got {got}.")
    way, suffix = given[0], arguments.output.suffix.lower()
    refuse_set(arguments, _UNREAD.get(way, ()), option(way))
    if way == "over" and suffix not in OPAQUE:
        raise ValueError(f"--output must end in {', '.join(OPAQUE)}, got {arguments.output}. Rename it.")
    if way != "transforms" and suffix not in ("", *SUFFIXES):
        raise ValueError(
            f"--output must end in {', '.join(SUFFIXES)}, or have no ending for a folder of images, got "
            f"{arguments.output}. Rename it."
        )
    if arguments.time is not None:
        check_times("time", [arguments.time])
        refuse_set(arguments, ("slow", "loop"), "--time")
    return way


def _trajectory(way: str, arguments: RenderArguments, scene: Scene) -> Trajectory:
    config = OutputsConfig(
        size=512 if arguments.size is None else arguments.size,
        fps=arguments.fps,
        seconds=arguments.seconds,
        slow=arguments.slow,
        elevation_deg=arguments.elevation,
    )
    if arguments.keyframes is not None:
        keyframes = read_keyframes(arguments.keyframes)
        if keyframes[0].time is not None:
            refuse_set(arguments, ["slow"], "key frames that give the time")
        trajectory = keyframe_trajectory(scene, config, keyframes)
    elif way == "input_camera":
        cameras = _input_cameras(RunFolder(arguments.run), scene)
        trajectory = input_trajectory(
            scene, config, cameras, torch.tensor(scene.timeline.times), arguments.size or cameras.height
        )
    elif arguments.azimuth is not None:
        trajectory = fixed_trajectory(scene, config, arguments.azimuth)
    else:
        trajectory = orbit_trajectory(scene, config)
    return (
        trajectory
        if arguments.time is None
        else replace(trajectory, times=torch.full_like(trajectory.times, arguments.time))
    )


def _input_cameras(run: RunFolder, scene: Scene) -> Cameras:
    """The camera of the real video at every frame, [T, 1], in the user's world."""
    if run.video_crop.is_file():
        return crop_cameras(run.read_video_crop(), len(scene.timeline.times))
    record = read_record(run.config)
    return load_views(record.input, record.config.views).cameras[:, :1]


def _write_video_file(
    arguments: RenderArguments, scene: Scene, renderer: Renderer, trajectory: Trajectory
) -> list[Path]:
    output, background = arguments.output, None
    if arguments.background is not None:
        background = read_background(arguments.background, trajectory.cameras.width, trajectory.cameras.height)
    if output.suffix:
        claim([output], force=arguments.force)
        render_video(output, scene, renderer, trajectory, arguments.fps, background)
        return [output]
    paths = claim_frames(output, ".png", len(trajectory.times), force=arguments.force)
    _write_all(paths, render_trajectory(scene, renderer, trajectory, background))
    leave_alone(paths)
    return paths


def _write_all(paths: list[Path], images: Iterable[UInt8[np.ndarray, "H W 4"]]) -> None:
    for path, image in zip(tracked(paths, "drawing the images"), images, strict=True):
        write_png(path, image)


def _frames(path: Path, size: int | None) -> list[TransformsFrame]:
    frames = read_transforms(path, size=None if size is None else (size, size))
    names = [Path(frame.file_path) for frame in frames]
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{path}: file_path must differ from frame to frame, got {str(twice[0])!r} twice. Rename one.")
    return frames


def _write_images(arguments: RenderArguments, scene: Scene, renderer: Renderer) -> list[Path]:
    assert arguments.transforms is not None  # this way of recording
    frames = _frames(arguments.transforms, arguments.size)
    paths = [arguments.output / f"{frame.file_path}.png" for frame in frames]
    claim(paths, force=arguments.force)
    _write_all(paths, render_frames(scene, renderer, frames))
    return paths


def _write_overlay(arguments: RenderArguments, scene: Scene, renderer: Renderer, video: Path) -> list[Path]:
    claim([arguments.output], force=arguments.force)
    run = RunFolder(arguments.run)
    crop, config = run.read_video_crop(), read_record(run.config).config
    raw_video = read_source_video(video, crop, replace(config.video, fps=config.views.fps))
    write = OPAQUE[arguments.output.suffix.lower()]
    frames = overlay_video(scene, renderer, crop, raw_video, arguments.size)
    write(arguments.output, tracked(frames, arguments.output.name, len(raw_video.images)), raw_video.info.fps)
    return [arguments.output]
