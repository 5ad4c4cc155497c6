"""`ds4d export`: the Gaussians of any times as files, or the whole object as a page that plays it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from ds4d.export import UpAxis, into_world, turn_up, write_html, write_ply
from ds4d.outputs import FOVY_DEG, viewing_distance
from ds4d.scene import BakedGaussians, Scene
from ds4d.types import RawGaussians

WRITERS = {"ply": write_ply}


@dataclass(frozen=True)
class ExportArguments:
    """Writes the Gaussians of any times as numbered files, or the whole object as one web page that plays it.

    Attributes:
        run: folder of the run.
        output: folder of the files; the file itself for html.
        format: ply is the layout of 3D Gaussian splatting, html a page for any browser, without server or network.
        times: in [0, 1], from the first frame to the last.
        up: axis of the files' world that points up: z in Blender, -y in many viewers of splats; that of the input's
            world if not given.
        sh_degree: of the colours, 0 to 3, filled up with zeros: some viewers read 3 only. The fit's own if not given.
        force: write over files that are there.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    format: Literal["ply", "html"] = "ply"
    times: tuple[float, ...] = (0.0, 0.5, 1.0)
    up: UpAxis | None = None
    sh_degree: int | None = None
    force: bool = False


def run(words: Sequence[str]) -> int:
    """The command; returns the exit status."""
    arguments = tyro.cli(ExportArguments, args=list(words), prog="ds4d export")
    if not arguments.times:
        raise ValueError("--times must name at least one time, got none.")
    if arguments.format == "html":
        return _write_page(arguments)
    paths = [arguments.output / f"frame{index:04d}.{arguments.format}" for index in range(len(arguments.times))]
    _check_free(paths, arguments.force)
    scene = BakedGaussians.load(arguments.run)
    with torch.no_grad():
        raw = scene.raw_at(torch.tensor(arguments.times))
    for index, (time, path) in enumerate(zip(arguments.times, paths, strict=True)):
        WRITERS[arguments.format](_placed(raw.at_time(index), scene, arguments.up), path, sh_degree=arguments.sh_degree)
        print(f"wrote {path} (time {time:g})")
    return 0


def _write_page(arguments: ExportArguments) -> int:
    """The whole object as a page, seen from the front at first, as in the run's videos."""
    path = arguments.output
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--output must end in .html for --format html, got {path}. Rename it.")
    defaults = {f.name: f.default for f in fields(ExportArguments)}
    for name in ("times", "up", "sh_degree"):
        if getattr(arguments, name) != defaults[name]:
            raise ValueError(f"--{name.replace('_', '-')} must not be given with --format html. Leave it out.")
    _check_free([path], arguments.force)
    scene = BakedGaussians.load(arguments.run)
    title = arguments.run.resolve().name
    write_html(scene, path, distance=viewing_distance(scene), fovy_deg=FOVY_DEG, title=title)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser")
    return 0


def _check_free(paths: Sequence[Path], force: bool) -> None:
    taken = [path for path in paths if path.exists()]
    if taken and not force:
        raise ValueError(
            f"{taken[0]} must not exist yet, got one that does. Name another, or write over it by --force."
        )


def _placed(raw: RawGaussians, scene: Scene, up: UpAxis | None) -> RawGaussians:
    """The Gaussians in the input's world, as it is or turned so that `up` points up."""
    if up is None:
        return into_world(raw, scene.world)
    upright = replace(scene.world, rotation=torch.eye(3))  # the inner world is y up; without its turn, so is the outer
    return turn_up(into_world(raw, upright), up)
