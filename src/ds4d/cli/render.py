"""`ds4d render`: pictures at the cameras of a transforms file, or a film."""

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
    Shot,
    draw_shot,
    film_cameras,
    input_shot,
    keyframe_shot,
    orbit_shot,
    overlay_film,
    read_film,
    standing_shot,
    write_film,
)
from ds4d.visualize.keyframes import read_keyframes

# Options of films that each way of filming does not read.
_UNREAD = {
    "transforms": ("elevation", "fps", "seconds", "slow", "time", "loop", "background"),
    "over": ("elevation", "fps", "seconds", "slow", "time", "loop", "background"),
    "keyframes": ("elevation", "seconds", "time"),
    "input_camera": ("elevation",),
}


@dataclass(frozen=True)
class RenderArguments(ScreenOptions):
    """Draws a generated object: pictures at the cameras of a transforms file, or a film.

    Give one of --transforms, --orbit, --azimuth, --keyframes, --input-camera and --over. Films are .mp4, .mkv, .mov
    (H.264), .webm (VP9, transparent), .gif, or a folder of frame0001.png and so on (transparent).

    Attributes:
        run: folder of the run.
        output: file of the film; a name without an ending is a folder of pictures.
        transforms: draw every frame of this transforms json, at its camera, size and time, as <file_path>.png: RGBA
            with straight alpha.
        orbit: film in which time plays while the camera turns once round the object.
        azimuth: film from this side, in degrees: 0 front, 90 right, 180 back, 270 left.
        keyframes: film along the key frames of this json file, a list of objects with the keys at (seconds), azimuth,
            elevation, zoom and time.
        input_camera: film from the camera of the real video.
        over: lay the object over this film, the one the run was made of, where it was filmed; a film of its size and
            speed.
        elevation: of the film's camera, in degrees, positive from above.
        size: height and width of the film in pixels, 512 if not given; with --input-camera its height, the input's if
            not given; with --transforms, of frames for which the file gives no size; with --over, of the drawing
            before it is put into the film.
        fps: frames per second of the film.
        seconds: least length of the film; the clip plays again and again.
        slow: how many times slower than filmed the clip plays; between frames the motion is asked for its own time.
        time: let time stand still at this moment, in [0, 1], while the camera moves.
        loop: blend the end of the clip into its start. A clip that is known to loop always is.
        background: a colour (white, #rrggbb) or a picture behind the object; white if not given, or nothing in films
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
        return Outcome(wrote=_write_pictures(arguments, scene, renderer))
    if arguments.over is not None:
        return Outcome(wrote=_write_overlay(arguments, scene, renderer, arguments.over))
    playing = LoopedScene(scene) if arguments.loop or scene.clip.loops else scene
    outcome = Outcome(wrote=_write_film(arguments, playing, renderer, _shot(way, arguments, playing)))
    return with_jump(outcome, scene) if arguments.loop else outcome


def _check_choice(arguments: RenderArguments) -> str:
    """The way of filming: one, and only the options that it reads."""
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
            f"--output must end in {', '.join(SUFFIXES)}, or have no ending for a folder of pictures, got "
            f"{arguments.output}. Rename it."
        )
    if arguments.time is not None:
        check_times("time", [arguments.time])
        refuse_set(arguments, ("slow", "loop"), "--time")
    return way


def _shot(way: str, arguments: RenderArguments, scene: Scene) -> Shot:
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
        shot = keyframe_shot(scene, config, keyframes)
    elif way == "input_camera":
        cameras = _input_cameras(RunFolder(arguments.run), scene)
        shot = input_shot(scene, config, cameras, torch.tensor(scene.clip.times), arguments.size or cameras.height)
    elif arguments.azimuth is not None:
        shot = standing_shot(scene, config, arguments.azimuth)
    else:
        shot = orbit_shot(scene, config)
    return shot if arguments.time is None else replace(shot, times=torch.full_like(shot.times, arguments.time))


def _input_cameras(run: RunFolder, scene: Scene) -> Cameras:
    """The camera of the real video at every frame, [T, 1], in the user's world."""
    if run.film.is_file():
        return film_cameras(run.read_film_place(), len(scene.clip.times))
    record = read_record(run.config)
    video = load_views(record.input, record.config.views)
    return replace(video.cameras, viewmats=video.cameras.viewmats[:, :1], Ks=video.cameras.Ks[:, :1])


def _write_film(arguments: RenderArguments, scene: Scene, renderer: Renderer, shot: Shot) -> list[Path]:
    output, background = arguments.output, None
    if arguments.background is not None:
        background = read_background(arguments.background, shot.cameras.width, shot.cameras.height)
    if output.suffix:
        claim([output], force=arguments.force)
        write_film(output, scene, renderer, shot, arguments.fps, background)
        return [output]
    paths = claim_frames(output, ".png", len(shot.times), force=arguments.force)
    _write_all(paths, draw_shot(scene, renderer, shot, background))
    leave_alone(paths)
    return paths


def _write_all(paths: list[Path], pictures: Iterable[UInt8[np.ndarray, "H W 4"]]) -> None:
    for path, picture in zip(tracked(paths, "drawing the pictures"), pictures, strict=True):
        write_png(path, picture)


def _frames(path: Path, size: int | None) -> list[TransformsFrame]:
    frames = read_transforms(path, size=None if size is None else (size, size))
    names = [Path(frame.file_path) for frame in frames]
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{path}: file_path must differ from frame to frame, got {str(twice[0])!r} twice. Rename one.")
    return frames


def _write_pictures(arguments: RenderArguments, scene: Scene, renderer: Renderer) -> list[Path]:
    assert arguments.transforms is not None  # this way of filming
    frames = _frames(arguments.transforms, arguments.size)
    paths = [arguments.output / f"{frame.file_path}.png" for frame in frames]
    claim(paths, force=arguments.force)
    _write_all(paths, render_frames(scene, renderer, frames))
    return paths


def _write_overlay(arguments: RenderArguments, scene: Scene, renderer: Renderer, film: Path) -> list[Path]:
    claim([arguments.output], force=arguments.force)
    run = RunFolder(arguments.run)
    place, config = run.read_film_place(), read_record(run.config).config
    footage = read_film(film, place, replace(config.video, fps=config.views.fps))
    write = OPAQUE[arguments.output.suffix.lower()]
    frames = overlay_film(scene, renderer, place, footage, arguments.size)
    write(arguments.output, tracked(frames, arguments.output.name, len(footage.pictures)), footage.fps)
    return [arguments.output]
