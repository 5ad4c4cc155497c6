"""`ds4d sample`: an example input, made here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.outcome import Outcome, ds4d_command
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.data.synthetic import SampleConfig, write_sample


@dataclass(frozen=True)
class SampleArguments(ScreenOptions):
    """Draws the project's own moving creature from all sides: views to fit, views to test with, and a video.

    Attributes:
        folder: new, empty, or an earlier sample, which is replaced.
        sample: its size.
    """

    folder: tyro.conf.Positional[Path]
    sample: Annotated[SampleConfig, tyro.conf.arg(name="")] = field(default_factory=SampleConfig)


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(SampleArguments, args=list(words), prog="ds4d sample")
    write_sample(arguments.folder, arguments.sample)
    folder, fps = arguments.folder, f"{arguments.sample.fps:g}"
    video = ds4d_command("generate", folder / "front.mp4", "-o", "run")
    views = ds4d_command("generate", folder, "--splits", "front", "mv", "--fps", fps, "-o", "run")
    return Outcome("fit the sample's video, or all its views", wrote=[folder], next=[video, views])
