"""What image features contribute in the paper's own setting: from how few rows of time, views and frames they pay.

    python benchmarks/paper_setting.py DATA/gltf/* DATA/minions -o out --size 256 --device cuda --jobs 6
    python benchmarks/paper_setting.py DATA/gltf/* -o out --axes rows --variants B H --seeds 1      # a part of it
    python benchmarks/paper_setting.py -o out                                                        # the tables again

Color losses see the input view alone; generated views, which are perturbed, train through a perceptual loss and their
masks (`ds4d.ablation.paper_setting`). Each axis changes one thing from the center: 12 rows of time, six views, all
frames, perturbations as large as those of generated views. Sets without transforms_test.json have real generated views,
each of which is held out of a fit and scored; they have no views or frames to choose from and nothing to perturb.

out/CONDITION/results/*.json    one file per finished fit: a killed command continues when it is repeated
out/CONDITION/table.md          all measures of a condition
out/cells.jsonl                 one line per finished fit, of all conditions
out/summary.md                  differences from B, and which variants reach what is asked of a default
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ds4d.ablation import (
    CANDIDATES,
    VARIANTS,
    AblationScene,
    FitDone,
    FitFailed,
    ablate,
    find_scenes,
    fit_scene,
    paper_setting,
    plan,
    write_tables,
)
from ds4d.ablation.comparison import difference, entries, mean_of
from ds4d.ablation.results import Result, read_results
from ds4d.core import choose_device
from ds4d.features import choose_extractor
from ds4d.io import atomic_path, read_json
from ds4d.presets import PRESETS, default_preset

ROWS, VIEWS, STRENGTH = 12, 6, 1.0  # of the center
# The metrics of every fit besides ds4d's own; those without weights are listed as not computed.
FURTHER = ("lpips", "clip", "lpips_random", "detail_ratio", "color_outliers")
AXIS_VARIANTS = ("B", "E", "H", "visible")  # beside the center, where everything is compared
BASE = "B"
WANTED_DB, WANTED_FLICKER, EQUAL_DB = 0.5, 2 / 3, 0.1  # what a variant must gain to become the default
SHOWN = {"psnr_dynamic": 2, "psnr": 2, "still_flicker": 3, "lpips_random": 4, "input_psnr": 2}  # and their digits


@dataclass(frozen=True)
class Condition:
    """One point of the grid.

    Attributes:
        rows: rows of the HexPlane along time; 0 is one per frame.
        views: number of generated views.
        strength: size of the perturbations; 1 is that of generated views.
        frames: number of frames, from the first; 0 is all.
    """

    rows: int = ROWS
    views: int = VIEWS
    strength: float = STRENGTH
    frames: int = 0

    @property
    def name(self) -> str:
        """Name of its folder."""
        frames = f"-frames{self.frames}" if self.frames else ""
        return f"rows{self.rows}-views{self.views}-strength{self.strength:g}{frames}"


CENTER = Condition()
AXES: dict[str, tuple[Condition, ...]] = {
    "center": (CENTER,),
    "rows": tuple(replace(CENTER, rows=rows) for rows in (2, 6, 0)),
    "views": tuple(replace(CENTER, views=views) for views in (1, 2, 4)),
    "strength": tuple(replace(CENTER, strength=strength) for strength in (0.0, 0.5, 2.0)),
    "frames": tuple(replace(CENTER, frames=frames) for frames in (8, 16)),
}


def reduced_set(source: Path, folder: Path, views: int, frames: int) -> Path:
    """A copy of a set with some of its generated views and its first frames, which span [0, 1]; images are linked.

    Args:
        source: folder with transforms_front.json, transforms_mv.json and transforms_test.json.
        folder: where it is made; what is there is replaced.
        views: number of generated views, evenly chosen.
        frames: number of frames; 0 keeps all.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for image in sorted(path for path in source.iterdir() if path.is_dir()):
        (folder / image.name).symlink_to(image.resolve(), target_is_directory=True)
    for split in ("front", "mv", "test"):
        content = read_json(source / f"transforms_{split}.json")
        kept = content["frames"]
        if split == "mv":
            names = sorted({frame["view"] for frame in kept})
            chosen = {names[index] for index in np.linspace(0, len(names), views, endpoint=False).astype(int)}
            kept = [frame for frame in kept if frame["view"] in chosen]
        times = sorted({frame["time"] for frame in kept})[: frames or None]
        span = times[-1] or 1
        kept = [{**frame, "time": frame["time"] / span} for frame in kept if frame["time"] <= times[-1]]
        text = json.dumps({**content, "frames": kept})
        with atomic_path(folder / f"transforms_{split}.json") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder


def scenes_of(condition: Condition, sets: Sequence[Path], out: Path, views: Any) -> list[AblationScene]:
    """The scenes of a condition."""
    whole = not condition.frames and condition.views == VIEWS
    folders, real = [], []
    for source in sets:
        if not (source / "transforms_test.json").is_file():
            if whole and condition.strength == STRENGTH:
                real.append(source)
        elif whole:
            folders.append(source)
        else:
            part = out / "sets" / f"views{condition.views}-frames{condition.frames}" / source.resolve().name
            folders.append(reduced_set(source, part, condition.views, condition.frames))
    found = [replace(s, strength=condition.strength) for s in find_scenes(folders, views, perturb_views=bool(folders))]
    return found + (find_scenes(real, views, hold_out=True) if real else [])


def fit_condition(condition: Condition, args: argparse.Namespace) -> int:
    """Runs the fits of a condition that are not finished; returns how many failed."""
    device = choose_device(args.device)
    config = PRESETS[args.preset or default_preset(device)]()
    if args.size:
        config = replace(config, views=replace(config.views, size=args.size))
    if args.steps:
        static = round(args.steps * config.training.static_steps / config.training.total_steps)
        training = replace(config.training, static_steps=static, dynamic_steps=args.steps - static)
        config = replace(config, training=training)
    config = paper_setting(
        config, rows=condition.rows, lpips_weight=args.lpips_weight, stand_in_channels=args.stand_in_channels
    )
    config = replace(config, features=replace(config.features, kind=choose_extractor(config.features, device)[0]))
    every = (*VARIANTS, *CANDIDATES) if condition == CENTER else AXIS_VARIANTS
    variants = [name for name in every if not args.variants or name in args.variants]
    scenes = scenes_of(condition, args.sets, args.out, config.views)
    if not variants or not scenes:
        return 0
    failed, folder = 0, args.out / condition.name
    function = partial(fit_scene, further={"views": tuple(args.further)})
    for event in ablate(plan(scenes, config, variants, args.seeds), folder, function, device=device, jobs=args.jobs):
        if isinstance(event, FitDone):
            append_cell(args.out, condition, event.result)
            say(f"{condition.name}: {event.number} of {event.total}, {event.seconds_left / 60:.0f} minutes left")
        elif isinstance(event, FitFailed):
            failed += 1
            say(f"{condition.name}: {event.name} failed: {event.error}")
    write_tables(folder)
    return failed


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def cell(condition: Condition, result: Result) -> str:
    """One fit as a line of JSON."""
    metrics = {name: None if math.isnan(value) else value for name, value in result.metrics.items()}
    content = {
        **asdict(condition), "scene": result.scene, "scored_on": result.scored_on, "variant": result.variant,
        "seed": result.seed, "lpips_stand_in": result.settings["preset"]["training"]["lpips_stand_in"],
        "seconds": result.seconds, "device": result.device, "ds4d": result.ds4d, **metrics,
    }  # fmt: skip
    return json.dumps(content, allow_nan=False) + "\n"


def append_cell(out: Path, condition: Condition, result: Result) -> None:
    """Adds a fit to cells.jsonl."""
    with (out / "cells.jsonl").open("a", encoding="utf-8") as file:
        file.write(cell(condition, result))


def finished(out: Path) -> Iterator[tuple[Condition, list[Result]]]:
    """The conditions that have results."""
    for condition in dict.fromkeys(condition for axis in AXES.values() for condition in axis):
        if results := read_results(out / condition.name):
            yield condition, results


def write_summary(out: Path) -> None:
    """Writes cells.jsonl, whose last line a killed command may have left unfinished, and summary.md."""
    found = list(finished(out))
    with atomic_path(out / "cells.jsonl") as temporary:
        lines = [cell(condition, result) for condition, results in found for result in results]
        temporary.write_text("".join(lines), encoding="utf-8")
    with atomic_path(out / "summary.md") as temporary:
        temporary.write_text("\n".join(summary(found)) + "\n", encoding="utf-8")


def summary(found: Sequence[tuple[Condition, Sequence[Result]]]) -> Iterator[str]:
    """Means of B, differences of the others from it, and which reach what is wanted; as Markdown."""
    stand_in = any(r.settings["preset"]["training"]["lpips_stand_in"] for _, results in found for r in results)
    yield "# The paper's setting"
    yield ""
    yield (
        f"Differences from {BASE} at the same scene and seed, ± spread over seeds (scenes that are better). The "
        f"perceptual loss is {'a stand-in for LPIPS, VGG16 with random weights' if stand_in else 'LPIPS'}."
    )
    for condition, results in found:
        for scored_on in dict.fromkeys(result.scored_on for result in results):
            some = [result for result in results if result.scored_on == scored_on]
            yield from _table(f"{condition.name}, scored on {scored_on}", some)


def _table(title: str, results: Sequence[Result]) -> Iterator[str]:
    known = {name: entries(results, BASE, name) for name in SHOWN}
    yield from ("", f"## {title}", "", f"| | {' | '.join(SHOWN)} | pays |", "|---|" + "---:|" * len(SHOWN) + "---|")
    base = [f"{mean_of(known[name]).mean:.{digits}f}" if known[name] else "-" for name, digits in SHOWN.items()]
    yield f"| {BASE} | {' | '.join(base)} | |"
    for variant in (*VARIANTS, *CANDIDATES):
        if variant == BASE or not any(result.variant == variant for result in results):
            continue
        cells = []
        for name, digits in SHOWN.items():
            found = difference(entries(results, variant, name), known[name], name)
            spread = "" if math.isnan(found.spread) else f" ±{found.spread:.{digits}f}"
            cells.append(f"{found.mean:+.{digits}f}{spread} ({found.better}/{found.scenes})" if found.scenes else "-")
        yield f"| {variant} | {' | '.join(cells)} | {'yes' if pays(results, variant) else 'no'} |"


def pays(results: Sequence[Result], variant: str) -> bool:
    """Whether a variant gains what is wanted over B: in dynamic parts, or by less flicker at equal quality.

    0.5 dB psnr_dynamic on average and a gain on every scene; or still_flicker down by a third, and down on every scene
    that has it, with psnr at most 0.1 dB lower.
    """
    ours = {name: entries(results, variant, name) for name in ("psnr", "psnr_dynamic", "still_flicker")}
    theirs = {name: entries(results, BASE, name) for name in ours}
    gains = {name: difference(ours[name], theirs[name], name) for name in ours}
    dynamic, flicker = gains["psnr_dynamic"], gains["still_flicker"]
    if dynamic.scenes and dynamic.mean >= WANTED_DB and dynamic.better == dynamic.scenes:
        return True
    calm = flicker.scenes > 0 and flicker.better == flicker.scenes
    less = (
        mean_of(theirs["still_flicker"]).mean + flicker.mean <= WANTED_FLICKER * mean_of(theirs["still_flicker"]).mean
    )
    return calm and less and gains["psnr"].mean >= -EQUAL_DB


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing of the grid, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="*", help="folders of sets; none writes the tables again")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS, *CANDIDATES], default=(), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", choices=PRESETS, help="by default fast on CUDA, else cpu")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--size", type=int, help="image height, pixels; by default the preset's")
    parser.add_argument(
        "--lpips-weight", type=float, help="of the perceptual loss; by default that of the preset paper"
    )
    parser.add_argument(
        "--stand-in-channels", type=int, default=64, help="of the stand-in for LPIPS; fewer than VGG16's 64 are faster"
    )
    parser.add_argument(
        "--further", nargs="*", choices=FURTHER, default=FURTHER, help="metrics besides ds4d's own", metavar="NAME"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    try:
        write_summary(args.out)  # before anything is appended to a file that ends within a line
        for condition in (
            dict.fromkeys(condition for axis in args.axes for condition in AXES[axis]) if args.sets else ()
        ):
            failed += fit_condition(condition, args)
            write_summary(args.out)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print((args.out / "summary.md").read_text(encoding="utf-8"), end="")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
