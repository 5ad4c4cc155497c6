"""`ds4d report`: a finished run on one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.outcome import Outcome, written_page
from ds4d.cli.overwriting import claim
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.runs import RunFolder
from ds4d.runs.report import write_report


@dataclass(frozen=True)
class ReportArguments(ScreenOptions):
    """Writes the page of a finished run anew, for instance when ds4d eval has added scores, or beside other pages.

    Attributes:
        run: folder of the run.
        output: the page; report.html in the run's folder if not given.
        force: replace a file that is there; the run's own page is always made anew.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = None
    force: bool = False


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(ReportArguments, args=list(words), prog="ds4d report")
    folder = RunFolder(arguments.run)
    folder.read_metrics()  # what is wrong with the run is said before what is wrong with the output
    output = folder.report if arguments.output is None else arguments.output
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--output must end in .html, got {output}. Rename it.")
    if output != folder.report:
        claim([output], force=arguments.force)
    write_report(folder, output)
    return written_page(output)
