"""`ds4d ablate`: the rows of the paper's ablation on the same data, seeds and steps."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.ablation import Event, FitFailed, MultiView, Planned, ablate, find_cases, fit_case, plan, write_tables
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
    """Fits the rows of the paper's ablation to the same clips with the same seeds and steps, and makes their table.

    Every finished fit is one file in results/. What is there is not fitted again, so the same command goes on where it
    was stopped, and folders are merged by copying their results together. Without data only the table is made anew.

    Attributes:
        output: folder of the results and of table.json, table.md and table.png.
        data: folders of multi-view frames. With transforms_test.json: fitted to the splits front and mv, scored on
            test. Else fitted as they are and scored on the front view.
        rows: of A (random first Gaussians), B (on the visual hull), D (B + frame features of the front view), E (D +
            DSFD), F, G, H (E + TSSF by average, GA, DA), visible (E + TSSF of the views that see the point), registered (B
            + the generated views' warps and tints learnt) and ours (both of these); all if not given.
        seeds: how many of each, from 0.
        preset: settings that the rows share; fast on CUDA, else cpu, if not given.
        size: height of the images in pixels; the preset's if not given.
        steps: of a whole fit; both stages are shortened or stretched alike. The preset's if not given.
        device: where to work; auto takes CUDA where it can be used.
        mv: whether the views besides the front are fitted as they are, or perturbed as a generator's views are, anew
            for each seed; where there is a test split.
        hold_out: leave each generated view out of a fit of its own and score that view; where there is no test split.
        jobs: fits that run side by side, each in a process of its own.
        base: row that the others are compared with; B, or the first one present, if not given.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    data: tyro.conf.Positional[tuple[Path, ...]] = ()
    rows: tuple[str, ...] = ()
    seeds: int = 3
    preset: PresetName | None = None
    size: int | None = None
    steps: int | None = None
    device: DeviceName = "auto"
    mv: MultiView = "exact"
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
            return Outcome(error=f"{MEANINGS[code]}; fits that were done are kept.", next=again, exit_code=code)
    if not failed:
        return _table(arguments.output, arguments.base)
    why = f"{failed} fit{'s' * (failed > 1)} failed; why stands in {arguments.output / 'failures'}."
    broken = Outcome(error=why, next=again, exit_code=ExitCode.FAILED)
    if not any((arguments.output / "results").glob("*.json")):
        return broken  # no fit, no table
    try:
        table = _table(arguments.output, arguments.base)
    except ValueError as error:  # none of the base row, for instance
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
        there = f", {event.kept} of them there already" if event.kept else ""
        return f"{event.total} fits{there}"
    if isinstance(event, FitFailed):
        return f"fit {event.number} of {event.total}: {event.name} failed: {event.error}"
    result = event.result
    name, value = next(
        ((name, result.metrics[name]) for name in ("psnr_dynamic", "psnr") if not math.isnan(result.metrics[name])),
        ("input_psnr", result.metrics["input_psnr"]),
    )
    left = f", about {describe_seconds(event.seconds_left)} left" if event.number < event.total else ""
    return (
        f"fit {event.number} of {event.total}: {result.case} {result.row} seed {result.seed} ... "
        f"{name} {value:.1f}, {result.seconds:.0f} s{left}"
    )


def _fit(arguments: AblateArguments, screen: Screen) -> int:
    """Runs the plan; returns how many fits failed."""
    device = choose_device(arguments.device)
    preset = _settings(arguments, "fast" if device.type == "cuda" else "cpu")
    cases = find_cases(arguments.data, preset.views, mv=arguments.mv, hold_out=arguments.hold_out)
    fits = plan(cases, preset, arguments.rows, arguments.seeds)
    failed = 0
    for event in ablate(fits, arguments.output, fit_case, device=device, jobs=arguments.jobs):
        screen.say(describe(event))
        failed += isinstance(event, FitFailed)
    return failed


def _settings(arguments: AblateArguments, usual: PresetName) -> GenerateConfig:
    """What the rows share."""
    preset = PRESETS[arguments.preset or usual]()
    if arguments.size is not None:
        preset = replace(preset, views=replace(preset.views, size=arguments.size))
    if arguments.steps is not None:
        static = round(arguments.steps * preset.fit.static_steps / preset.fit.total_steps)
        fit = replace(preset.fit, static_steps=static, dynamic_steps=arguments.steps - static)
        preset = replace(preset, fit=fit)
    return preset
