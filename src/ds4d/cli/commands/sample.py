"""`ds4d sample`: writes a synthetic example input."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine
from ds4d.cli.checks import check_output
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, ds4d_command
from ds4d.data.synthetic import SampleConfig, write_sample


@dataclass(frozen=True)
class SampleArguments:
    """Writes a synthetic moving object: training views, held-out views and a video.

    Attributes:
        folder: output folder: new, empty, or an earlier sample, which is replaced.
        sample: size of the sample.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    sample: SampleConfig = field(default_factory=SampleConfig)


COMMAND = CommandLine(
    "sample",
    SampleArguments,
    (
        ("sample data/sample", "write the example input"),
        ("sample data/small --frames 6 --size 64", "write a smaller one"),
    ),
    flat=frozenset({"sample"}),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    check_output(arguments.folder, is_folder=True)
    write_sample(arguments.folder, arguments.sample)
    folder, fps = arguments.folder, f"{arguments.sample.fps:g}"
    video = ds4d_command("generate", folder / "front.mp4", "-o", "run")
    views = ds4d_command("generate", folder, "--splits", "front", "mv", "--fps", fps, "-o", "run")
    return Outcome("fit the video, or all training views", files=[folder], next=[video, views])
