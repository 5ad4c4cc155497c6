"""`ds4d export`: the Gaussians of any times as files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from ds4d.export import UpAxis, into_world, turn_up, write_ply
from ds4d.scene import BakedGaussians, Scene
from ds4d.types import RawGaussians

WRITERS = {"ply": write_ply}


@dataclass(frozen=True)
class ExportArguments:
    """Writes the Gaussians of any times as files that other programs read, numbered in the order of the times.

    Attributes:
        run: folder of the run.
        output: folder of the files.
        format: ply is the layout of 3D Gaussian splatting.
        times: in [0, 1], from the first frame to the last.
        up: axis of the files' world that points up: z in Blender, -y in many viewers of splats; that of the input's
            world if not given.
        sh_degree: of the colours, 0 to 3, filled up with zeros: some viewers read 3 only. The fit's own if not given.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    format: Literal["ply"] = "ply"
    times: tuple[float, ...] = (0.0, 0.5, 1.0)
    up: UpAxis | None = None
    sh_degree: int | None = None


def run(words: Sequence[str]) -> int:
    """The command; returns the exit status."""
    arguments = tyro.cli(ExportArguments, args=list(words), prog="ds4d export")
    if not arguments.times:
        raise ValueError("--times must name at least one time, got none.")
    scene = BakedGaussians.load(arguments.run)
    with torch.no_grad():
        raw = scene.raw_at(torch.tensor(arguments.times))
    for index, time in enumerate(arguments.times):
        path = arguments.output / f"frame{index:04d}.{arguments.format}"
        WRITERS[arguments.format](_placed(raw.at_time(index), scene, arguments.up), path, sh_degree=arguments.sh_degree)
        print(f"wrote {path} (time {time:g})")
    return 0


def _placed(raw: RawGaussians, scene: Scene, up: UpAxis | None) -> RawGaussians:
    """The Gaussians in the input's world, as it is or turned so that `up` points up."""
    if up is None:
        return into_world(raw, scene.world)
    upright = replace(scene.world, rotation=torch.eye(3))  # the inner world is y up; without its turn, so is the outer
    return turn_up(into_world(raw, upright), up)
