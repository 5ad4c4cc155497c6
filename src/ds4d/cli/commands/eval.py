"""`ds4d eval`: scores a run on held-out views, or any result by a protocol of the field."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine
from ds4d.cli.checks import check_new_folder, check_output, refuse_set
from ds4d.cli.console import Console
from ds4d.cli.result import ExitCode, Outcome, ds4d_command, open_in_browser, plain
from ds4d.core import DeviceName, choose_device, to_dict
from ds4d.evaluation import (
    ProtocolConfig,
    ProtocolName,
    evaluate,
    markdown,
    run_protocol,
    write_clip,
    write_scores,
)
from ds4d.metrics import Lpips
from ds4d.rendering import renderer_for
from ds4d.runs import EvaluationRecord, RunFolder
from ds4d.runs.report.tables import score_rows
from ds4d.scene import read_baked_scene


@dataclass(frozen=True)
class EvalArguments:
    """Scores a run on the held-out views of a transforms file, and writes eval.json into its folder.

    With --protocol, any result is scored: a run, a folder with images or videos of each view, one 3D file per frame, or
    an animated glTF file; of several objects, a folder with one of these per object. Metrics whose weights are missing
    (ds4d weights) are listed as not computed.

    Attributes:
        run: folder of the run; with --protocol, any result.
        data: folder of the truth: transforms_<split>.json and its images, in the world space of the run's input. With
            --protocol also the layouts of Consistent4D, ActionBench and V2M4, or a folder with one such folder per
            object.
        split: name of the transforms file, without transforms_ and .json.
        protocol: views (all metrics in the images' own size), consistent4d (as Consistent4D's scripts), v2m4 (as
            V2M4's), or tracks (surfaces and tracked points).
        output: folder for results.json, .csv, .md and .html with every clip beside the truth; with --protocol.
        frames: number of frames to compare, from the first; with --protocol. Published figures use 30 or 32.
        metrics: the only metrics to compute; with --protocol.
        alignment_points: number of points that --protocol tracks aligns; ActionBench takes 10000, which takes hours on
            a CPU.
        device: compute device; auto uses CUDA if it is available.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    split: Annotated[str, tyro.conf.arg(metavar="NAME")] = "test"
    protocol: Annotated[ProtocolName | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    frames: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: all)")] = None
    metrics: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]", help_behavior_hint="(default: those of the protocol)")
    ] = ()
    alignment_points: int = ProtocolConfig.alignment_points
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "eval",
    EvalArguments,
    (
        ("eval run --data data/sample", "score a run on transforms_test.json"),
        ("eval renders --data data/sample --protocol views -o scores", "score images that another program rendered"),
        (
            "eval results --data eval_gt --protocol consistent4d --frames 32 -o scores",
            "score a folder of objects as Consistent4D's scripts do",
        ),
        ("eval animation.glb --data data/sample --protocol tracks -o scores", "score a moving surface"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    if arguments.protocol is not None:
        return _run_protocol(arguments, arguments.protocol)
    refuse_set(arguments, ("output", "frames", "metrics", "alignment_points"), "a run without --protocol")
    folder = RunFolder(arguments.run)
    folder.check_scene()
    check_output(folder.evaluation, is_folder=False)
    device = choose_device(arguments.device)
    scene = read_baked_scene(folder.path, device)
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


def _run_protocol(arguments: EvalArguments, protocol: ProtocolName) -> Outcome:
    if arguments.output is None:
        raise ValueError("--output must be given with --protocol, got none. Add -o DIR.")
    check_new_folder(arguments.output)
    config = ProtocolConfig(arguments.frames, arguments.metrics, arguments.split, arguments.alignment_points)
    with _unfinished_removed(arguments.output) as clips:
        scores = run_protocol(
            protocol,
            arguments.run,
            arguments.data,
            config,
            choose_device(arguments.device),
            show=lambda name, clip: clips.append(write_clip(arguments.output or Path(), name, clip)),
        )
        files = write_scores(arguments.output, scores, clips)
    result = {"total": scores.total, "counts": scores.counts, "not_computed": scores.not_computed}
    result |= {"failed": {each.name: each.error for each in scores.failed}}
    steps = [open_in_browser(files[-1]), ds4d_command("compare", arguments.output, "OTHER")]
    if len(scores.failed) == len(scores.objects):
        error = f"no object could be scored: {scores.failed[0].error}"
        return Outcome(markdown(scores), plain(result), files, error=error, exit_code=ExitCode.USAGE_ERROR)
    return Outcome(markdown(scores), plain(result), files, steps)


@contextmanager
def _unfinished_removed(output: Path) -> Generator[list[Path]]:
    """A list of clips that were written into a new folder; they are removed where the block ends with an error."""
    clips: list[Path] = []
    existed = output.is_dir()
    try:
        yield clips
    except BaseException:
        for path in clips:
            path.unlink(missing_ok=True)
        for folder in [output / "clips", *([] if existed else [output])]:
            with suppress(OSError):  # not there, or with files of others
                folder.rmdir()
        raise


def _table(record: EvaluationRecord) -> str:
    rows = score_rows(record)
    width = max(len(name) for name, *_ in rows) + 2
    return "\n".join(f"{name:<{width}}" + "".join(f"{cell:>14}" for cell in cells) for name, *cells in rows)
