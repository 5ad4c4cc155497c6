"""`ds4d eval`: scores a run on held-out views."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine, RunPath
from ds4d.cli.checks import check_output
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, ds4d_command, plain
from ds4d.core import DeviceName, choose_device, to_dict
from ds4d.evaluation import evaluate
from ds4d.metrics import Lpips
from ds4d.rendering import renderer_for
from ds4d.runs import EvaluationRecord, RunFolder
from ds4d.runs.report.tables import score_rows
from ds4d.scene import BakedGaussians


@dataclass(frozen=True)
class EvalArguments:
    """Scores a run on the held-out views of a transforms file, and writes eval.json into its folder.

    The scores include LPIPS if its weights are installed (ds4d weights).

    Attributes:
        run: folder of the run.
        data: folder of transforms_<split>.json and its images, in the world space of the run's input.
        split: name of the transforms file, without transforms_ and .json.
        device: compute device; auto uses CUDA if it is available.
    """

    run: RunPath
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    split: Annotated[str, tyro.conf.arg(metavar="NAME")] = "test"
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "eval",
    EvalArguments,
    (
        ("eval run --data data/sample", "score a run on transforms_test.json"),
        ("eval run --data data/sample --split val", "score it on transforms_val.json"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    folder = RunFolder(arguments.run)
    folder.check_scene()
    check_output(folder.evaluation, is_folder=False)
    device = choose_device(arguments.device)
    scene = BakedGaussians.load(folder.path, device)
    lpips = Lpips.if_available()
    evaluation = evaluate(
        scene, renderer_for(device), arguments.data, arguments.split, lpips=lpips.to(device) if lpips else None
    )
    record = EvaluationRecord(
        Path(os.path.realpath(arguments.data)),
        arguments.split,
        evaluation.images,
        plain(evaluation.total),
        plain(evaluation.views),
    )
    folder.write_evaluation(record)
    transforms = arguments.data / f"transforms_{arguments.split}.json"
    render = ds4d_command("render", arguments.run, "--transforms", transforms, "-o", arguments.run / arguments.split)
    report = ds4d_command("report", arguments.run)
    return Outcome(_table(record), to_dict(record), [folder.evaluation], [render, report])


def _table(record: EvaluationRecord) -> str:
    rows = score_rows(record)
    width = max(len(name) for name, *_ in rows) + 2
    return "\n".join(f"{name:<{width}}" + "".join(f"{cell:>14}" for cell in cells) for name, *cells in rows)
