"""`ds4d render`: pictures at the cameras of a transforms file, or a video."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.device import DeviceName, choose_device
from ds4d.evaluation import render_frames
from ds4d.film_overlay import overlay_film, read_film
from ds4d.imaging import write_png, write_video
from ds4d.outputs import OutputsConfig, write_orbit, write_standing
from ds4d.rendering import renderer_for
from ds4d.run_folder import RunFolder
from ds4d.scene import BakedGaussians, Scene
from ds4d.types import Renderer
from ds4d.views import TransformsFrame, read_transforms

_VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class RenderArguments:
    """Draws a generated object: pictures at the cameras of a transforms file, or a video.

    Give one of --transforms, --orbit, --azimuth and --over.

    Attributes:
        run: folder of the run.
        output: folder of the pictures, or file of the video (.mp4, .mkv, .mov).
        transforms: draw every frame of this transforms json, at its camera, size and time, as <file_path>.png: RGBA
            with straight alpha.
        orbit: draw a video in which time plays while the camera turns once round the object.
        azimuth: draw a video from this side, in degrees: 0 front, 90 right, 180 back, 270 left.
        over: lay the object over this film, the one the run was made of, where it was filmed; a video of the film's
            size and speed.
        elevation: of the video's camera, in degrees, positive from above.
        size: height and width of the video in pixels, 512 if not given; with --transforms, of frames for which the
            file gives no size; with --over, of the drawing before it is put into the film.
        fps: frames per second of the video.
        seconds: least length of the video; the clip plays again and again.
        slow: how many times slower than filmed the clip plays.
        device: where to work; auto takes CUDA where it can be used.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    transforms: Path | None = None
    orbit: bool = False
    azimuth: float | None = None
    over: Path | None = None
    elevation: float = OutputsConfig.elevation_deg
    size: int | None = None
    fps: float = OutputsConfig.fps
    seconds: float = OutputsConfig.seconds
    slow: float = OutputsConfig.slow
    device: DeviceName = "auto"


def run(words: Sequence[str]) -> int:
    """The command; returns the exit status."""
    arguments = tyro.cli(RenderArguments, args=list(words), prog="ds4d render")
    _check_choice(arguments)
    device = choose_device(arguments.device)
    renderer = renderer_for(device)
    scene = BakedGaussians.load(arguments.run, device)
    if arguments.over is not None:
        _write_overlay(arguments, scene, renderer, arguments.over)
    elif arguments.transforms is None:
        _write_video(arguments, scene, renderer)
    else:
        _write_pictures(arguments, scene, renderer, _frames(arguments.transforms, arguments.size))
    return 0


def _check_choice(arguments: RenderArguments) -> None:
    """One kind of output, and only the options that it reads."""
    kinds = {
        "--transforms": arguments.transforms is not None,
        "--orbit": arguments.orbit,
        "--azimuth": arguments.azimuth is not None,
        "--over": arguments.over is not None,
    }
    given = [name for name, there in kinds.items() if there]
    if len(given) != 1:
        raise ValueError(f"ds4d render must be given one of {', '.join(kinds)}, got {' and '.join(given) or 'none'}.")
    if arguments.transforms is None:
        if arguments.output.suffix.lower() not in _VIDEO_SUFFIXES:
            raise ValueError(f"--output must end in {', '.join(_VIDEO_SUFFIXES)}, got {arguments.output}. Rename it.")
        if arguments.over is None:
            return
    defaults = {f.name: f.default for f in fields(RenderArguments)}
    for name in ("elevation", "fps", "seconds", "slow"):
        if getattr(arguments, name) != defaults[name]:
            raise ValueError(f"--{name} must not be given with {given[0]}, which says how to draw. Leave it out.")


def _frames(path: Path, size: int | None) -> list[TransformsFrame]:
    frames = read_transforms(path, size=None if size is None else (size, size))
    names = [Path(frame.file_path) for frame in frames]
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{path}: file_path must differ from frame to frame, got {str(twice[0])!r} twice. Rename one.")
    return frames


def _write_pictures(
    arguments: RenderArguments, scene: Scene, renderer: Renderer, frames: list[TransformsFrame]
) -> None:
    for frame, picture in zip(frames, render_frames(scene, renderer, frames), strict=True):
        write_png(arguments.output / f"{frame.file_path}.png", picture)
    print(f"wrote {len(frames)} pictures into {arguments.output}")


def _write_overlay(arguments: RenderArguments, scene: Scene, renderer: Renderer, film: Path) -> None:
    run = RunFolder(arguments.run)
    footage = read_film(run, film)
    write_video(arguments.output, overlay_film(scene, renderer, run, footage, arguments.size), footage.fps)
    print(f"wrote {arguments.output}")


def _write_video(arguments: RenderArguments, scene: Scene, renderer: Renderer) -> None:
    config = OutputsConfig(
        size=512 if arguments.size is None else arguments.size,
        fps=arguments.fps,
        seconds=arguments.seconds,
        slow=arguments.slow,
        elevation_deg=arguments.elevation,
    )
    if arguments.azimuth is None:
        write_orbit(arguments.output, scene, renderer, config)
    else:
        write_standing(arguments.output, scene, renderer, config, arguments.azimuth)
    print(f"wrote {arguments.output}")
