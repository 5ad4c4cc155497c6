"""`ds4d render`: renders a run to images at the cameras of a transforms file, or to a video."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import UInt8
from PIL import ImageColor

from ds4d.cli.arguments import CommandLine, Flag, RunPath
from ds4d.cli.checks import check_output, check_overwrite, check_times, frame_paths, option, refuse_set, remove_stale
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, export_page_command
from ds4d.cli.scenes import load_scene, with_jump
from ds4d.core import DeviceName, choose_device, notices_to, tracked
from ds4d.data import TransformsFrame, load_views, read_transforms
from ds4d.evaluation import render_frames
from ds4d.geometry import transform_cameras
from ds4d.io import on_white, premultiply, read_rgba, resize_premultiplied, write_png
from ds4d.pipeline import read_input
from ds4d.rendering import renderer_for
from ds4d.runs import RunFolder, read_record
from ds4d.scene import LoopedScene, Scene
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
    write_comparison,
)

_STILL = ".png"  # the ending of a single image
# Options that each mode does not use.
_UNUSED = {
    "transforms": ("elevation", "fps", "seconds", "slow", "time", "loop", "background"),
    "over": ("elevation", "fps", "seconds", "slow", "time", "loop", "background"),
    "keyframes": ("elevation", "seconds", "time"),
    "input_camera": ("elevation",),
    "compare": ("fps", "seconds", "time", "loop", "background"),
}


@dataclass(frozen=True)
class RenderArguments:
    """Renders a run to images at the cameras of a transforms file, or to a video.

    Give exactly one of --transforms, --orbit, --azimuth, --keyframes, --input-camera, --compare and --over. Videos are
    .mp4, .mkv, .mov (H.264), .webm (VP9, transparent), .gif, or a folder of transparent images frame0001.png and so on.
    With --time and --azimuth or --input-camera, a .png is a single image.

    Attributes:
        run: folder of the run.
        output: video file, .png for a single image, or folder for images, a name without an ending.
        transforms: transforms file (JSON) whose frames are all rendered with their camera, size and time, as
            <file_path>.png, RGBA with straight alpha.
        orbit: render a video in which the camera turns once around the object while time passes.
        azimuth: render a video from this azimuth in degrees: 0 front, 90 right, 180 back, 270 left.
        keyframes: render a video along the key frames in this JSON file, a list of objects with the keys at (seconds),
            azimuth, elevation, zoom and time.
        input_camera: render a video with the camera of the input view.
        compare: render a video with labeled columns: the input, the object from its camera, and from the
            right, the back and the left.
        over: composite the object over this video, from which the run was made, at its size and frame rate.
        move: with --over, degrees by which the camera of the object is moved around it, to the right; the object is
            removed from the video then, and what it hid is filled from other frames. 0 only removes and replaces it.
        elevation: elevation of the camera in degrees, positive from above.
        size: height and width of the video in pixels, by default 512. With --input-camera its height, by default the
            input's; with --transforms the size of frames that have none; with --over the size of the rendered crop.
        fps: frame rate of the video, frames per second.
        seconds: minimum duration of the video in seconds; the clip is repeated.
        slow: factor by which the clip is slowed down; the motion is evaluated at the times between the frames.
        time: freeze the clip at this time, in [0, 1] from the first frame to the last.
        loop: blend the end of the clip into its start; clips that are known to loop always are.
        background: background color (white, #rrggbb) or image file; by default transparent where the format allows it,
            else white.
        force: replace existing files.
        device: compute device; auto uses CUDA if it is available.
    """

    run: RunPath
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    transforms: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    orbit: Flag = False
    azimuth: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    keyframes: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    input_camera: Flag = False
    compare: Flag = False
    over: Annotated[Path | None, tyro.conf.arg(metavar="VIDEO", help_behavior_hint="(default: none)")] = None
    move: Annotated[float | None, tyro.conf.arg(metavar="DEGREES", help_behavior_hint="(default: none)")] = None
    elevation: float = OutputsConfig.elevation_deg
    size: int | None = None
    fps: float = OutputsConfig.fps
    seconds: float = OutputsConfig.seconds
    slow: float = OutputsConfig.slow
    time: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: the clip plays)")] = None
    loop: Flag = False
    background: Annotated[str | None, tyro.conf.arg(metavar="COLOR|FILE")] = None
    force: Flag = False
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "render",
    RenderArguments,
    (
        ("render run --orbit -o orbit.mp4", "a video of one turn around the object"),
        ("render run --compare -o compare.mp4", "the input beside the object, with labels"),
        ("render run --azimuth 30 --time 0.37 -o still.png", "a single image"),
        ("render run --transforms data/transforms_test.json -o out", "images at the cameras of a transforms file"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    mode = _check_mode(arguments)
    _check_overwrite(mode, arguments)
    device = choose_device(arguments.device)
    scene = load_scene(arguments.run, device)
    outcome = _render(mode, arguments, scene, renderer_for(device))
    return replace(outcome, next=[export_page_command(arguments.run)])


def _render(mode: str, arguments: RenderArguments, scene: Scene, renderer: Renderer) -> Outcome:
    if mode == "transforms":
        return Outcome(files=_write_images(arguments, scene, renderer))
    if arguments.over is not None:
        return Outcome(files=_write_overlay(arguments, scene, renderer, arguments.over))
    if mode == "compare":
        return Outcome(files=_write_comparison(arguments, scene, renderer))
    playing = LoopedScene(scene) if arguments.loop or scene.timeline.loops else scene
    outcome = Outcome(files=_write_video_file(arguments, playing, renderer, _trajectory(mode, arguments, playing)))
    return with_jump(outcome, scene) if arguments.loop else outcome


def _check_mode(arguments: RenderArguments) -> str:
    """The one mode that is given; refuses options that it does not use, and endings that it cannot write."""
    modes = ("transforms", "orbit", "azimuth", "keyframes", "input_camera", "compare", "over")
    given = [mode for mode in modes if getattr(arguments, mode) is not None and getattr(arguments, mode) is not False]
    if len(given) != 1:
        got = " and ".join(map(option, given)) or "none"
        raise ValueError(f"one of {', '.join(map(option, modes))} must be given, got {got}.")
    mode, suffix = given[0], arguments.output.suffix.lower()
    if arguments.move is not None and mode != "over":
        raise ValueError(f"--move must be given with --over, got {option(mode)}. Leave it out, or use --azimuth.")
    refuse_set(arguments, _UNUSED.get(mode, ()), option(mode))
    if mode in ("compare", "over") and suffix not in OPAQUE:
        raise ValueError(f"--output must end in {', '.join(OPAQUE)}, got {arguments.output}. Rename it.")
    if suffix == _STILL:
        if arguments.time is None or mode not in ("azimuth", "input_camera"):
            raise ValueError(
                f"--output must be a video or a folder without --time and --azimuth or --input-camera, got "
                f"{arguments.output}. Add them for a single image."
            )
        refuse_set(arguments, ("fps", "seconds"), "a single image")
    elif mode != "transforms" and suffix not in ("", *SUFFIXES):
        raise ValueError(
            f"--output must end in {', '.join(SUFFIXES)}, in {_STILL} for a single image, or have no ending for a "
            f"folder of images, got {arguments.output}. Rename it."
        )
    if arguments.time is not None:
        check_times("time", [arguments.time])
        refuse_set(arguments, ("slow", "loop"), "--time")
    check_output(arguments.output, is_folder=mode == "transforms" or not suffix)
    return mode


def _check_overwrite(mode: str, arguments: RenderArguments) -> None:
    """Refuses to replace existing files without --force, before the run is loaded."""
    if mode == "transforms":
        _image_paths(arguments)
    elif arguments.output.suffix:
        check_overwrite([arguments.output], force=arguments.force)
    else:
        frame_paths(arguments.output, ".png", 1, force=arguments.force)


def _trajectory(mode: str, arguments: RenderArguments, scene: Scene) -> Trajectory:
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
    elif mode == "input_camera":
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
    """The camera of the input view at every frame, [T, 1], in input space."""
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
    if output.suffix.lower() == _STILL:
        single = replace(trajectory, cameras=trajectory.cameras[:1], times=trajectory.times[:1])
        _write_pngs([output], render_trajectory(scene, renderer, single, background))
        return [output]
    if output.suffix:
        render_video(output, scene, renderer, trajectory, arguments.fps, background)
        return [output]
    paths = frame_paths(output, ".png", len(trajectory.times), force=arguments.force)
    _write_pngs(paths, render_trajectory(scene, renderer, trajectory, background))
    remove_stale(paths)
    return paths


def _write_pngs(paths: list[Path], images: Iterable[UInt8[np.ndarray, "H W 4"]]) -> None:
    for path, image in zip(tracked(paths, "rendering the images"), images, strict=True):
        write_png(path, image)


def _frames(path: Path, size: int | None) -> list[TransformsFrame]:
    frames = read_transforms(path, size=None if size is None else (size, size))
    names = [Path(frame.file_path) for frame in frames]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: file_path must differ from frame to frame, got {str(twice)!r} twice. Rename one.")
    return frames


def _image_paths(arguments: RenderArguments) -> tuple[list[TransformsFrame], list[Path]]:
    """The frames of the transforms file and the files of their images, which may be written."""
    assert arguments.transforms is not None  # the mode
    frames = _frames(arguments.transforms, arguments.size)
    paths = [arguments.output / f"{frame.file_path}.png" for frame in frames]
    check_overwrite(paths, force=arguments.force)
    return frames, paths


def _write_images(arguments: RenderArguments, scene: Scene, renderer: Renderer) -> list[Path]:
    frames, paths = _image_paths(arguments)
    _write_pngs(paths, render_frames(scene, renderer, frames))
    return paths


def _write_overlay(arguments: RenderArguments, scene: Scene, renderer: Renderer, video: Path) -> list[Path]:
    run = RunFolder(arguments.run)
    crop, config = run.read_video_crop(), read_record(run.config).config
    raw_video = read_source_video(video, crop, replace(config.video, fps=config.views.fps))
    write = OPAQUE[arguments.output.suffix.lower()]
    frames = overlay_video(scene, renderer, crop, raw_video, arguments.size, arguments.move)
    write(arguments.output, tracked(frames, arguments.output.name, len(raw_video.images)), raw_video.info.fps)
    return [arguments.output]


def _write_comparison(arguments: RenderArguments, scene: Scene, renderer: Renderer) -> list[Path]:
    record = read_record(RunFolder(arguments.run).config)
    with notices_to(lambda notice: None):  # generated views that are not in the cache are not shown anyway
        video = read_input(record.input, record.resolved_config, torch.device(record.device), make_views=False).video
    size = arguments.size or OutputsConfig.size
    config = OutputsConfig(size=size, slow=arguments.slow, elevation_deg=arguments.elevation)
    video = replace(video, cameras=transform_cameras(scene.world, video.cameras))
    write_comparison(arguments.output, scene, video, renderer, config, ("right", "back", "left"))
    return [arguments.output]


def read_background(value: str, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """A background of a video.

    Args:
        value: a color by its name (white) or as #rrggbb, or an image file, which is cropped to the video's shape;
            transparent pixels become white.
        width: width of the video in pixels.
        height: height of the video in pixels.

    Raises:
        ValueError: the value is neither a color nor an image.
    """
    if Path(value).is_file():
        return _crop_to(premultiply(read_rgba(value)), width, height)
    try:
        color = ImageColor.getrgb(value)
    except ValueError as error:
        raise ValueError(
            f"--background must be a color such as white or #rrggbb, or an image, got {value!r}. Check the path."
        ) from error
    return np.full((height, width, 3), color[:3], np.uint8)


def _crop_to(rgba: UInt8[np.ndarray, "h w 4"], width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """The largest central crop of an image with the given shape, resized to it."""
    scale = max(width / rgba.shape[1], height / rgba.shape[0])
    large = resize_premultiplied(
        rgba, max(width, round(scale * rgba.shape[1])), max(height, round(scale * rgba.shape[0]))
    )
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return on_white(large[top : top + height, left : left + width])
