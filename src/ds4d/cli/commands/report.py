"""`ds4d report`: writes the HTML report of a finished run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine, Flag, RunPath
from ds4d.cli.checks import check_output, check_overwrite
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, page_outcome
from ds4d.runs import RunFolder
from ds4d.runs.report import write_report


@dataclass(frozen=True)
class ReportArguments:
    """Writes the HTML report of a finished run: videos, loss curves, metrics and settings.

    Attributes:
        run: folder of the run.
        output: HTML file to write; by default report.html in the run's folder, which is always replaced.
        force: replace an existing file.
    """

    run: RunPath
    output: Annotated[
        Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: RUN/report.html)")
    ] = None
    force: Flag = False


COMMAND = CommandLine(
    "report",
    ReportArguments,
    (
        ("report run", "write the report again, for instance after ds4d eval"),
        ("report run -o reports/run.html", "write it elsewhere"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    folder = RunFolder(arguments.run)
    folder.read_metrics()  # a problem with the run is reported before one with the output
    output = folder.report if arguments.output is None else arguments.output
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--output must end in .html, got {output}. Rename it.")
    check_output(output, is_folder=False)
    if output != folder.report:
        check_overwrite([output], force=arguments.force)
    write_report(folder, output)
    return page_outcome(output)
