"""`ds4d ablate`: compares variants of the method on the same data, seeds and steps."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.ablation import Event, FitFailed, Planned, ablate, find_scenes, fit_scene, plan, write_tables
from ds4d.cli.arguments import CommandLine, Flag
from ds4d.cli.checks import check_new_folder, check_output
from ds4d.cli.console import Console
from ds4d.cli.displays import describe_seconds
from ds4d.cli.result import MEANINGS, ExitCode, Outcome, ds4d_command, open_in_browser
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, choose_device
from ds4d.evaluation import ProtocolName, metrics_by_protocol
from ds4d.features import choose_extractor
from ds4d.pipeline import check_weights
from ds4d.presets import PRESETS, PresetName, default_preset
from ds4d.runs import RunRecord


@dataclass(frozen=True)
class AblateArguments:
    """Fits variants of the method to the same scenes with the same seeds and steps, and compares them in a table.

    Every finished fit is one file in results/ and is not fitted again: an interrupted command continues when it is
    repeated, and folders can be merged by copying their results together. Without data only the table is written again.

    Attributes:
        output: folder for the results and for table.json, table.md and table.png.
        data: folders of multi-view frames. A folder with transforms_test.json is fitted on its splits front and mv and
            scored on test; any other is fitted as it is and scored on its input view.
        variants: variants to compare: A (random initialization), B (initialization on the visual hull), D (B + image
            features of the input view), E (D + DSFD), F, G, H (E + TSSF by average, GA, DA), visible (E + TSSF of the
            views that see the point), view-correction (B + learned warps and color gains of the generated views), ours
            (visible + view-correction). Only where they are named, candidates for what the dynamic part could guide:
            B+weights, visible+weights, visible+gate, visible+hidden, visible+robust, visible+segments.
        seeds: number of random seeds, counted from 0.
        preset: settings that all variants share; by default fast on CUDA, else cpu.
        size: image height in pixels; by default the preset's.
        steps: number of optimization steps, divided between the stages as in the preset; by default the preset's.
        device: compute device; auto uses CUDA if it is available.
        perturb_views: perturb the training views besides the input view as a generator would, differently for each
            seed; for folders with a test split.
        hold_out: leave each generated view out of a fit in turn and score on it; for folders without a test split.
        jobs: number of fits that run at the same time, each in a process of its own.
        allow_missing_weights: fit although weights of pretrained networks are missing, as --preset paper needs them:
            features are replaced and losses left out, in all variants alike, and each is reported.
        metrics: further metrics of each fit, of those of ds4d eval --protocol. Those whose weights are missing (ds4d
            weights) are listed as not computed. Fits that are finished already are not scored again.
        protocol: protocol that further metrics are computed by, all of its metrics if --metrics names none; by default
            views for metrics of images and tracks for metrics of shapes.
        base: variant that the others are compared with; by default B, or the first one with results.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    data: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[DIR ...]", help_behavior_hint="(default: none)"),
    ] = ()
    variants: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]", help_behavior_hint="(default: all)")] = ()
    seeds: int = 3
    preset: PresetName | None = None
    size: int | None = None
    steps: int | None = None
    device: DeviceName = "auto"
    perturb_views: Flag = False
    hold_out: Flag = False
    jobs: int = 1
    allow_missing_weights: Flag = False
    metrics: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]", help_behavior_hint="(default: none)")] = ()
    protocol: Annotated[ProtocolName | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    base: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None


COMMAND = CommandLine(
    "ablate",
    AblateArguments,
    (
        ("ablate data/sample -o ablation", "fit all variants to a scene, with three seeds each"),
        (
            "ablate data/sample -o ablation --variants B E ours --seeds 1 --steps 300",
            "a quick comparison of three variants",
        ),
        ("ablate data/sample -o ablation --metrics lpips detail_ratio", "the same with further metrics"),
        ("ablate -o ablation --base E", "write the table again, compared with E"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command; failed fits do not keep the others from the table."""
    arguments = COMMAND.parse(argv)
    check_output(arguments.output, is_folder=True)
    if not (arguments.output / "results").is_dir():  # what an earlier ablation has written is replaced
        check_new_folder(arguments.output)
    failed, again = 0, [ds4d_command("ablate", *argv)]
    if arguments.data:
        try:
            failed = _fit(arguments, console)
        except (KeyboardInterrupt, SystemExit) as stop:
            code = ExitCode.INTERRUPTED if isinstance(stop, KeyboardInterrupt) else ExitCode.TERMINATED
            return Outcome(error=f"{MEANINGS[code]}; finished fits are kept.", next=again, exit_code=code)
    if not failed:
        return _table(arguments.output, arguments.base)
    error = f"{failed} fit{'s' * (failed > 1)} failed; the errors are in {arguments.output / 'failures'}."
    failure = Outcome(error=error, next=again, exit_code=ExitCode.FAILURE)
    if not any((arguments.output / "results").glob("*.json")):
        return failure  # nothing to compare
    try:
        table = _table(arguments.output, arguments.base)
    except ValueError as table_error:  # no results of the base, for instance
        return replace(failure, text=f"no table: {table_error}")
    return replace(failure, text=table.text, result=table.result, files=table.files)


def _table(folder: Path, base: str | None) -> Outcome:
    files = write_tables(folder, base)
    content = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    text = (folder / "table.md").read_text(encoding="utf-8")
    return Outcome(text, content, files, [open_in_browser(files[-1])])


def describe(event: Event) -> str:
    """An event as one line."""
    if isinstance(event, Planned):
        kept = f", {event.kept} of them finished already" if event.kept else ""
        return f"{event.total} fits{kept}"
    if isinstance(event, FitFailed):
        return f"fit {event.number} of {event.total}: {event.name} failed: {event.error}"
    result = event.result
    name, value = next(
        ((name, result.metrics[name]) for name in ("psnr_dynamic", "psnr") if not math.isnan(result.metrics[name])),
        ("input_psnr", result.metrics["input_psnr"]),
    )
    left = f", about {describe_seconds(event.seconds_left)} left" if event.number < event.total else ""
    return (
        f"fit {event.number} of {event.total}: {result.scene} {result.variant} seed {result.seed}: "
        f"{name} {value:.1f}, {result.seconds:.0f} s{left}"
    )


def _fit(arguments: AblateArguments, console: Console) -> int:
    """Runs the fits; returns how many failed."""
    device = choose_device(arguments.device)
    preset = _settings(arguments, default_preset(device))
    further = metrics_by_protocol(arguments.protocol, arguments.metrics)
    scenes = find_scenes(
        arguments.data, preset.views, perturb_views=arguments.perturb_views, hold_out=arguments.hold_out
    )
    # One choice for all fits, which their results record.
    preset = check_weights(RunRecord(arguments.data[0], device.type, preset)).resolved_config
    preset = replace(preset, features=replace(preset.features, kind=choose_extractor(preset.features, device)[0]))
    fits = plan(scenes, preset, arguments.variants, arguments.seeds)
    failed = 0
    function = partial(fit_scene, further=further) if further else fit_scene
    for event in ablate(fits, arguments.output, function, device=device, jobs=arguments.jobs):
        console.print(describe(event))
        failed += isinstance(event, FitFailed)
    return failed


def _settings(arguments: AblateArguments, default: PresetName) -> GenerateConfig:
    """The settings that all variants share."""
    preset = PRESETS[arguments.preset or default]()
    if arguments.allow_missing_weights:
        preset = replace(preset, allow_missing_weights=True)
    if arguments.size is not None:
        preset = replace(preset, views=replace(preset.views, size=arguments.size))
    if arguments.steps is not None:
        if arguments.steps < 1:
            raise ValueError(f"--steps must be at least 1, got {arguments.steps}.")
        static = round(arguments.steps * preset.training.static_steps / preset.training.total_steps)
        training = replace(preset.training, static_steps=static, dynamic_steps=arguments.steps - static)
        preset = replace(preset, training=training)
    return preset
