"""`ds4d ablate`: variants of the method on the same data, seeds and steps."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.ablation import Event, FitFailed, Planned, ablate, find_scenes, fit_scene, plan, write_tables
from ds4d.cli.displays import describe_seconds
from ds4d.cli.exit_codes import MEANINGS, ExitCode
from ds4d.cli.generate import PresetName
from ds4d.cli.outcome import Outcome, browser_command, ds4d_command
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, choose_device
from ds4d.presets import PRESETS


@dataclass(frozen=True)
class AblateArguments(ScreenOptions):
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
            (visible + view-correction). All if not given.
        seeds: number of random seeds, counted from 0.
        preset: settings that all variants share; fast on CUDA, else cpu, if not given.
        size: image height in pixels; the preset's if not given.
        steps: number of optimization steps, divided between the stages as in the preset; the preset's if not given.
        device: device to work on; auto uses CUDA if it is available.
        perturb_views: perturb the training views besides the input view as a generator would, differently for each
            seed; for folders with a test split.
        hold_out: leave each generated view out of a fit in turn and score on it; for folders without a test split.
        jobs: number of fits that run at the same time, each in a process of its own.
        base: variant that the others are compared with; B, or the first one with results, if not given.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    data: tyro.conf.Positional[tuple[Path, ...]] = ()
    variants: tuple[str, ...] = ()
    seeds: int = 3
    preset: PresetName | None = None
    size: int | None = None
    steps: int | None = None
    device: DeviceName = "auto"
    perturb_views: bool = False
    hold_out: bool = False
    jobs: int = 1
    base: str | None = None


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command; fits that fail do not keep the others from their table."""
    arguments = tyro.cli(AblateArguments, args=list(words), prog="ds4d ablate")
    failed, again = 0, [ds4d_command("ablate", *words)]
    if arguments.data:
        try:
            failed = _fit(arguments, screen)
        except (KeyboardInterrupt, SystemExit) as stop:
            code = ExitCode.INTERRUPTED if isinstance(stop, KeyboardInterrupt) else ExitCode.TERMINATED
            return Outcome(error=f"{MEANINGS[code]}; finished fits are kept.", next=again, exit_code=code)
    if not failed:
        return _table(arguments.output, arguments.base)
    why = f"{failed} fit{'s' * (failed > 1)} failed. See {arguments.output / 'failures'}."
    broken = Outcome(error=why, next=again, exit_code=ExitCode.FAILED)
    if not any((arguments.output / "results").glob("*.json")):
        return broken  # no fit, no table
    try:
        table = _table(arguments.output, arguments.base)
    except ValueError as error:  # for instance no result of the base variant
        return replace(broken, text=f"no table: {error}")
    return replace(broken, text=table.text, result=table.result, wrote=table.wrote)


def _table(folder: Path, base: str | None) -> Outcome:
    files = write_tables(folder, base)
    content = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    text = (folder / "table.md").read_text(encoding="utf-8")
    return Outcome(text, content, files, [browser_command(files[-1])])


def describe(event: Event) -> str:
    """One line for what has happened."""
    if isinstance(event, Planned):
        finished = f", {event.kept} of them finished already" if event.kept else ""
        return f"{event.total} fits{finished}"
    if isinstance(event, FitFailed):
        return f"fit {event.number} of {event.total}: {event.name} failed: {event.error}"
    result = event.result
    name, value = next(
        ((name, result.metrics[name]) for name in ("psnr_dynamic", "psnr") if not math.isnan(result.metrics[name])),
        ("input_psnr", result.metrics["input_psnr"]),
    )
    left = f", about {describe_seconds(event.seconds_left)} left" if event.number < event.total else ""
    return (
        f"fit {event.number} of {event.total}: {result.scene} {result.variant} seed {result.seed} ... "
        f"{name} {value:.1f}, {result.seconds:.0f} s{left}"
    )


def _fit(arguments: AblateArguments, screen: Screen) -> int:
    """Runs the plan; returns how many fits failed."""
    device = choose_device(arguments.device)
    preset = _settings(arguments, "fast" if device.type == "cuda" else "cpu")
    scenes = find_scenes(
        arguments.data, preset.views, perturb_views=arguments.perturb_views, hold_out=arguments.hold_out
    )
    fits = plan(scenes, preset, arguments.variants, arguments.seeds)
    failed = 0
    for event in ablate(fits, arguments.output, fit_scene, device=device, jobs=arguments.jobs):
        screen.say(describe(event))
        failed += isinstance(event, FitFailed)
    return failed


def _settings(arguments: AblateArguments, usual: PresetName) -> GenerateConfig:
    """The settings that all variants share."""
    preset = PRESETS[arguments.preset or usual]()
    if arguments.size is not None:
        preset = replace(preset, views=replace(preset.views, size=arguments.size))
    if arguments.steps is not None:
        static = round(arguments.steps * preset.training.static_steps / preset.training.total_steps)
        fit = replace(preset.training, static_steps=static, dynamic_steps=arguments.steps - static)
        preset = replace(preset, training=fit)
    return preset
