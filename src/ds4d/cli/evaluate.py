"""`ds4d eval`: scores on views that were not fitted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from ds4d.cli.outcome import Outcome, ds4d_command, plain
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.config import to_dict
from ds4d.device import DeviceName, choose_device
from ds4d.evaluation import Evaluation, evaluate
from ds4d.imaging import Lpips
from ds4d.rendering import renderer_for
from ds4d.run_folder import EvaluationRecord, RunFolder
from ds4d.scene import BakedGaussians


@dataclass(frozen=True)
class EvalArguments(ScreenOptions):
    """Scores a generated object on the pictures of a transforms file, and writes eval.json into the run's folder.

    LPIPS is among the scores where its weights are at hand (see `ds4d weights`).

    Attributes:
        run: folder of the run.
        data: folder of transforms_<split>.json and its pictures, in the world of the run's input.
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
    device = choose_device(arguments.device)
    scene = BakedGaussians.load(arguments.run, device)
    lpips = Lpips.at_hand()
    evaluation = evaluate(
        scene, renderer_for(device), arguments.data, arguments.split, lpips=lpips.to(device) if lpips else None
    )
    record = EvaluationRecord(
        arguments.data.resolve(), arguments.split, evaluation.images, plain(evaluation.total), plain(evaluation.views)
    )
    folder, transforms = RunFolder(arguments.run), arguments.data / f"transforms_{arguments.split}.json"
    folder.write_evaluation(record)
    look = ds4d_command("render", arguments.run, "--transforms", transforms, "-o", arguments.run / arguments.split)
    page = ds4d_command("report", arguments.run)
    return Outcome(_table(evaluation), to_dict(record), [folder.evaluation], [look, page])


def _table(evaluation: Evaluation) -> str:
    rows = {**evaluation.views, f"mean of {len(evaluation.views)} views": evaluation.total}
    width = max(len(name) for name in rows) + 2
    head = " " * width + "".join(f"{name:>14}" for name in evaluation.total)
    body = [
        f"{name:<{width}}" + "".join(_cell(scores[key]) for key in evaluation.total) for name, scores in rows.items()
    ]
    return "\n".join([head, *body])


def _cell(value: float) -> str:
    return f"{'-':>14}" if math.isnan(value) else f"{value:>14.3f}"
