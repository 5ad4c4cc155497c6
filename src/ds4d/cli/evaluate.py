"""`ds4d eval`: scores on views that were not fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from ds4d.cli.outcome import Outcome, ds4d_command, plain
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import DeviceName, choose_device, to_dict
from ds4d.evaluation import evaluate
from ds4d.metrics import Lpips
from ds4d.rendering import renderer_for
from ds4d.runs import EvaluationRecord, RunFolder
from ds4d.runs.report.tables import score_rows
from ds4d.scene import BakedGaussians


@dataclass(frozen=True)
class EvalArguments(ScreenOptions):
    """Scores a generated object on the images of a transforms file, and writes eval.json into the run's folder.

    LPIPS is among the scores where its weights are at hand (see `ds4d weights`).

    Attributes:
        run: folder of the run.
        data: folder of transforms_<split>.json and its images, in the world of the run's input.
        split: which transforms file.
        device: where to work; auto takes CUDA where it can be used.
    """

    run: tyro.conf.Positional[Path]
    data: Path
    split: str = "test"
    device: DeviceName = "auto"


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(EvalArguments, args=list(words), prog="ds4d eval")
    run = RunFolder(arguments.run)
    run.check_scene()
    device = choose_device(arguments.device)
    scene = BakedGaussians.load(run.path, device)
    lpips = Lpips.if_available()
    evaluation = evaluate(
        scene, renderer_for(device), arguments.data, arguments.split, lpips=lpips.to(device) if lpips else None
    )
    record = EvaluationRecord(
        arguments.data.resolve(), arguments.split, evaluation.images, plain(evaluation.total), plain(evaluation.views)
    )
    run.write_evaluation(record)
    transforms = arguments.data / f"transforms_{arguments.split}.json"
    look = ds4d_command("render", arguments.run, "--transforms", transforms, "-o", arguments.run / arguments.split)
    page = ds4d_command("report", arguments.run)
    return Outcome(_table(record), to_dict(record), [run.evaluation], [look, page])


def _table(record: EvaluationRecord) -> str:
    rows = score_rows(record)
    width = max(len(name) for name, *_ in rows) + 2
    return "\n".join(f"{name:<{width}}" + "".join(f"{cell:>14}" for cell in cells) for name, *cells in rows)
