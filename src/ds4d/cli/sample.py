"""`ds4d sample`: an example input, made here."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.views.sample import SampleConfig, write_sample


@dataclass(frozen=True)
class SampleArguments:
    """Draws the project's own moving creature from all sides: views to fit, views to test with, and a video.

    Attributes:
        folder: new, empty, or an earlier sample, which is replaced.
        sample: its size.
    """

    folder: tyro.conf.Positional[Path]
    sample: Annotated[SampleConfig, tyro.conf.arg(name="")] = field(default_factory=SampleConfig)


def run(words: Sequence[str]) -> int:
    """The command; returns the exit status."""
    arguments = tyro.cli(SampleArguments, args=list(words), prog="ds4d sample")
    write_sample(arguments.folder, arguments.sample)
    folder, fps = shlex.quote(str(arguments.folder)), arguments.sample.fps
    film = shlex.quote(str(arguments.folder / "front.mp4"))
    print(f"wrote {folder}. Fit its film, or all its views, with:\n  ds4d generate {film} -o RUN")
    print(f"  ds4d generate {folder} --splits front mv --fps {fps:g} -o RUN")
    return 0
