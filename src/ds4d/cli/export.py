"""`ds4d export`: the Gaussians of any times as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from ds4d.export import into_world, write_ply
from ds4d.scene import DynamicGaussians

WRITERS = {"ply": write_ply}


@dataclass(frozen=True)
class ExportArguments:
    """Writes the Gaussians of any times as files that other programs read, numbered in the order of the times.

    They stand in the world of the run's input.

    Attributes:
        run: folder of the run.
        output: folder of the files.
        format: ply is the layout of 3D Gaussian splatting.
        times: in [0, 1], from the first frame to the last.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    format: Literal["ply"] = "ply"
    times: tuple[float, ...] = (0.0, 0.5, 1.0)


def run(words: Sequence[str]) -> int:
    """The command; returns the exit status."""
    arguments = tyro.cli(ExportArguments, args=list(words), prog="ds4d export")
    if not arguments.times:
        raise ValueError("--times must name at least one time, got none.")
    scene = DynamicGaussians.load(arguments.run)
    with torch.no_grad():
        raw = scene.raw_at(torch.tensor(arguments.times))
    for index, time in enumerate(arguments.times):
        path = arguments.output / f"frame{index:04d}.{arguments.format}"
        WRITERS[arguments.format](into_world(raw.at_time(index), scene.world), path)
        print(f"wrote {path} (time {time:g})")
    return 0
