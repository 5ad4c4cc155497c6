"""Makes the tables of the documentation again: one table per name, each from the commands that are listed for it.

    python benchmarks/reproduce.py                                  # lists the tables, their commands, and what is open
    python benchmarks/reproduce.py --table one-video --data DATA --out tables            # runs one
    python benchmarks/reproduce.py --table one-video --data DATA --out tables --dry-run  # prints its commands

A command whose output is there already is not run again, so an interrupted table continues. Tables that need a GPU or
weights are run in the same way where these are; without them they are listed as open, with the reason.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from machine import machine

from ds4d.weights import MODELS, find_model

BENCHMARKS = Path(__file__).resolve().parent
SETS = (
    "barbarian-run", "carnotaurus-run-turn60", "fox-run-turn60", "frog-jump", "george-dance", "mage-spellcast",
)  # fmt: skip
SEEDS = (0, 1, 2)
VIDEOS = ("dancing_robot", "lifting1", "otter-on-surfboard", "sighing_frog")


@dataclass(frozen=True)
class Step:
    """One command of a table.

    Attributes:
        argv: its words; the first is `python` or `ds4d`.
        output: what it writes, below the output folder; it is not run again if that is there.
        stdout: file below the output folder for its standard output, or None.
    """

    argv: tuple[str, ...]
    output: str
    stdout: str | None = None


@dataclass(frozen=True)
class Table:
    """One table of the documentation.

    Attributes:
        page: page and section of it.
        steps: its commands, given the folder of the data and the output folder.
        gpu: whether it needs a GPU.
        weights: keys in `ds4d.weights.MODELS` that it needs.
        needs: folders below the data folder that not everybody has.
    """

    page: str
    steps: Callable[[Path, Path], list[Step]]
    gpu: bool = False
    weights: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def missing(self, data: Path) -> list[str]:
        """What keeps this machine from making it."""
        found = [f"weights of {MODELS[name].title}" for name in self.weights if find_model(MODELS[name]) is None]
        found[:0] = [str(data / name) for name in self.needs if not (data / name).is_dir()]
        return ["a GPU", *found] if self.gpu and not torch.cuda.is_available() else found


def _benchmark(name: str, *words: str | Path) -> tuple[str, ...]:
    return ("python", str(BENCHMARKS / f"{name}.py"), *map(str, words))


def _sets(data: Path) -> list[str]:
    return [str(data / "gltf" / name) for name in SETS]


def _scored(method: str, protocol: str, result: Path, data: Path, out: Path) -> Step:
    folder = f"scores-{protocol}/{method}"
    argv = ("ds4d", "eval", result, "--data", data / "gltf", "--protocol", protocol, "-o", out / folder)
    return Step(tuple(map(str, argv)), f"{folder}/results.json")


def _compared(methods: list[str], protocol: str, out: Path) -> Step:
    folders = [str(out / f"scores-{protocol}" / method) for method in methods]
    folder = f"comparison-{protocol}"
    return Step(("ds4d", "compare", *folders, "-o", str(out / folder)), f"{folder}/comparison.md")


def one_video(data: Path, out: Path) -> list[Step]:
    """Shapes from one video without a fit, scored on held-out views."""
    methods = ["card", "inflate", "lift"]
    shapes = Step(
        _benchmark("single_view", *_sets(data), "--images", out / "images"), "single_view.json", "single_view.json"
    )
    scored = [_scored(method, "views", out / "images" / method, data, out) for method in methods]
    return [shapes, *scored, _compared(methods, "views", out)]


def fits(data: Path, out: Path, *, preset: str, device: str) -> list[Step]:
    """Fits of all sets with three seeds, scored on held-out views and against tracked points."""
    made = []
    for seed in SEEDS:
        for name in SETS:
            run = f"runs/{preset}-seed{seed}/{name}"
            argv = ("ds4d", "generate", data / "gltf" / name, "--splits", "front", "mv", "--preset", preset,
                    "--device", device, "--seed", seed, "-o", out / run)  # fmt: skip
            made.append(Step(tuple(map(str, argv)), f"{run}/metrics.json"))
    methods = [f"{preset}-seed{seed}" for seed in SEEDS]
    for protocol in ("views", "tracks"):
        made += [_scored(method, protocol, out / "runs" / method, data, out) for method in methods]
        made.append(_compared(methods, protocol, out))
    return made


def gpu_fits(data: Path, out: Path) -> list[Step]:
    """The fits of benchmarks.md."""
    renders = out / "images" / "fast"
    argv = _benchmark("fit", *_sets(data), "--preset", "fast", "--device", "cuda", "--renders", renders)
    return [Step(argv, "fit.json", "fit.json"), _scored("fast", "views", renders, data, out)]


def gpu_curve(data: Path, out: Path) -> list[Step]:
    """Quality against seconds: fits with fewer and more steps than the presets'."""
    steps = []
    for preset, counts in (("draft", (200, 400, 800)), ("fast", (500, 700, 1000, 1400)), ("cpu", (550, 1100, 1650))):
        for count in counts:
            words = ("--preset", preset, "--device", "cuda", "--set", f"training.dynamic_steps={count}")
            file = f"{preset}-{count}.json"
            steps.append(Step(_benchmark("fit", *_sets(data), *words), file, file))
    return steps


def ablation(*options: str, folder: str = "gltf") -> Callable[[Path, Path], list[Step]]:
    """An ablation of results.md by these options; it continues by itself where it was interrupted."""

    def steps(data: Path, out: Path) -> list[Step]:
        sets = _sets(data) if folder == "gltf" else [str(data / folder)]
        argv = ("ds4d", "ablate", *sets, "-o", str(out / "ablation"), "--device", "cuda", *options)
        return [Step(argv, "ablation/table.md")]

    return steps


def printed(script: str, *words: str, sets: tuple[str, ...] = ()) -> Callable[[Path, Path], list[Step]]:
    """A script of this folder, and what it prints.

    Args:
        script: its name.
        words: its options.
        sets: paths below the folder of the data that come before them.
    """

    def steps(data: Path, out: Path) -> list[Step]:
        argv = _benchmark(script, *(data / name for name in sets), *words)
        return [Step(argv, f"{script}.txt", f"{script}.txt")]

    return steps


def whole_commands(data: Path, out: Path) -> list[Step]:
    """Whole commands on a CPU: minions, five videos, and two by the preset `draft`; each run keeps its seconds."""
    runs = [("minions", data / "minions", "cpu"), ("trex", data / "trex", "cpu")]
    runs += [(name, data / "videos" / f"{name}_fg.mp4", "cpu") for name in VIDEOS]
    drafts = ("otter-on-surfboard", "dancing_robot")
    runs += [(f"{name}-draft", data / "videos" / f"{name}_fg.mp4", "draft") for name in drafts]
    return [
        Step(
            ("ds4d", "generate", str(source), "--preset", preset, "--device", "cpu", "-o", str(out / name)),
            f"{name}/metrics.json",
        )
        for name, source, preset in runs
    ]


def four_sides(data: Path, out: Path) -> list[Step]:
    """The picture of five videos from four sides."""
    videos = [data / "videos" / f"{name}_fg.mp4" for name in VIDEOS]
    return [Step(_benchmark("sides", *videos, data / "trex", "-o", out / "sides.png"), "sides.png")]


def paper_setting(data: Path, out: Path) -> list[Step]:
    """The ablation in the paper's own setting; it continues by itself where it was interrupted."""
    folder = out / "paper-setting"
    options = ("--size", "256", "--device", "cuda", "--jobs", "6")
    argv = _benchmark("paper_setting", *_sets(data), data / "minions", "-o", folder, *options)
    return [Step(argv, "paper-setting.md", "paper-setting.md")]  # written when all fits are done


def paper_setting_cpu(data: Path, out: Path) -> list[Step]:
    """A small part of the same on a CPU: fewer sets, pixels, steps and variants, and a narrower stand-in for LPIPS."""
    size = ("--preset", "tiny", "--size", "64", "--steps", "300", "--device", "cpu", "--jobs", "2")
    network = ("--stand-in-channels", "16", "--further", "detail_ratio", "color_outliers")
    letters, guides = (
        ("A", "B", "E", "H", "visible", "ours"),
        ("B+growth", "B+frames", "B+still", "visible+learned", "visible+still"),
    )
    three = ("barbarian-run", "fox-run-turn60", "george-dance")
    parts: list[tuple[tuple[str, ...], str, str, tuple[str, ...]]] = [
        (three, "center", "3", (*letters, *guides)),
        (three, "rows", "1", ("B", "visible")),
    ]
    steps = []
    for number, (sets, axis, seeds, variants) in enumerate(parts):
        folders = [str(data / "gltf" / name) for name in sets]
        what = ("--axes", axis, "--seeds", seeds, "--variants", *variants)
        file = f"paper-setting-cpu-{number}.md"  # the last one holds all
        argv = _benchmark("paper_setting", *folders, "-o", out / "paper-setting-cpu", *what, *size, *network)
        steps.append(Step(argv, file, file))
    return steps


def paper_size(data: Path, out: Path) -> list[Step]:
    """Time and memory of the preset `paper`; it continues by itself where it was interrupted."""
    folder = out / "paper-size"
    return [Step(_benchmark("paper_size", data / "minions", "-o", folder, "--device", "cuda"), "paper-size/sizes.md")]


def consistent4d(data: Path, out: Path) -> list[Step]:
    """Consistent4D's test set and the images of each method, which are not among our sets."""
    truth, results = data / "consistent4d" / "eval_gt", data / "consistent4d" / "results"
    methods = sorted(path.name for path in results.glob("*/")) or ["METHOD"]
    steps = []
    for method in methods:
        folder = f"scores-consistent4d/{method}"
        words = ("ds4d", "eval", results / method, "--data", truth, "--protocol", "consistent4d", "--frames", "32")
        steps.append(Step((*map(str, words), "-o", str(out / folder)), f"{folder}/results.json"))
    return [*steps, _compared(methods, "consistent4d", out)]


_GLTF = tuple(f"gltf/{name}" for name in SETS)
_PERTURBED = ("--perturb-views", "--preset", "fast", "--jobs", "6")
TABLES: dict[str, Table] = {
    "one-video": Table("leaderboard.md, From one video", one_video),
    "one-video-fits": Table(
        "results.md, From one video", printed("single_view", "--preset", "cpu", "--device", "cpu", sets=_GLTF)
    ),
    "four-sides": Table("results.md, From one video", four_sides, needs=("videos", "trex")),
    "turning": Table(
        "results.md, Objects that turn",
        lambda data, out: [
            Step(
                _benchmark(
                    "turning",
                    data / "creatures" / "Mesh2Motion_variations__fox_dog.glb",
                    "-o",
                    out / "turns",
                    *("--turns", "0", "180", "--size", "128", "--preset", "tiny", "--device", "cpu"),
                ),
                "turning.txt",
                "turning.txt",
            )
        ],
        needs=("creatures",),
    ),
    "cpu-commands": Table("benchmarks.md, Fits on two CPU cores", whole_commands, needs=("videos", "trex")),
    "cpu-steps": Table(
        "benchmarks.md, Where a step's time goes",
        printed("profile_steps", "--preset", "cpu", "--device", "cpu", "--steps", "600", sets=("minions",)),
    ),
    "watched": Table(
        "benchmarks.md, Fits on two CPU cores",
        printed("live_viewer", "--preset", "cpu", "--device", "cpu", "--steps", "400", sets=("gltf/barbarian-run",)),
    ),
    "clip-memory": Table(
        "benchmarks.md, Memory by the length of a clip", printed("clip_memory", "--frames", "100", "2000")
    ),
    "mattes": Table("benchmarks.md, Mattes", printed("mattes", sets=_GLTF)),
    "splatters": Table("benchmarks.md, Splatters", printed("render", "--seconds", "1.5")),
    "gpu-splatters": Table("benchmarks.md, Splatters", printed("render", "--gpu", "--seconds", "3"), gpu=True),
    "cpu-fits": Table(
        "leaderboard.md, From seven views, CPU", lambda data, out: fits(data, out, preset="cpu", device="cpu")
    ),
    "fast-fits": Table(
        "leaderboard.md, From seven views, GPU",
        lambda data, out: fits(data, out, preset="fast", device="cuda"),
        gpu=True,
    ),
    "gpu-fits": Table("benchmarks.md, Fits on one GPU", gpu_fits, gpu=True),
    "gpu-drafts": Table(
        "benchmarks.md, Fits on one GPU", printed("fit", "--preset", "draft", "--device", "cuda", sets=_GLTF), gpu=True
    ),
    "gpu-curve": Table("benchmarks.md, Quality against seconds", gpu_curve, gpu=True),
    "gpu-steps": Table(
        "benchmarks.md, Where a step's time goes",
        printed("profile_steps", "--preset", "fast", "--device", "cuda", sets=("gltf/barbarian-run",)),
        gpu=True,
    ),
    "gpu-kernels": Table(
        "benchmarks.md, Triton kernels", printed("fused_parts", sets=("gltf/barbarian-run",)), gpu=True
    ),
    "features-cost": Table(
        "results.md, What the features cost",
        printed("features", "--device", "cuda", sets=("gltf/barbarian-run",)),
        gpu=True,
    ),
    "disagreeing-views": Table(
        "results.md, Generated views that disagree",
        ablation("--variants", "A", "B", "E", "H", "ours", "--seeds", "3", "--steps", "700", *_PERTURBED),
        gpu=True,
    ),
    "disagreeing-views-long": Table(
        "results.md, Generated views that disagree",
        ablation("--variants", "B", "ours", "--seeds", "3", *_PERTURBED),
        gpu=True,
    ),
    "candidates": Table(
        "results.md, The paper's setting",
        ablation("--variants", "visible", "visible+gate", "visible+hidden", "--seeds", "3", *_PERTURBED),
        gpu=True,
    ),
    "exact-views": Table(
        "results.md, Exact views",
        ablation("--variants", "A", "B", "E", "H", "ours", "--seeds", "1", "--preset", "fast", "--jobs", "6"),
        gpu=True,
    ),
    "real-views": Table(
        "results.md, Real generated views",
        ablation(
            *("--variants", "A", "B", "E", "H", "ours", "--seeds", "1"),
            *("--hold-out", "--size", "256", "--steps", "700", "--jobs", "6"),
            folder="minions",
        ),
        gpu=True,
    ),
    "paper-setting": Table("results.md, The paper's setting", paper_setting, gpu=True),
    "paper-setting-cpu": Table("results.md, The paper's setting", paper_setting_cpu),
    "paper-size": Table("benchmarks.md, The preset paper at its real size", paper_size, gpu=True),
    "consistent4d": Table(
        "leaderboard.md, Consistent4D",
        consistent4d,
        weights=("clip", "vgg16", "lpips-vgg", "i3d", "inception-fid"),
        needs=("consistent4d/eval_gt",),
    ),
}


def run(table: Table, data: Path, out: Path, *, dry_run: bool) -> int:
    """Runs the commands of a table in order; returns the exit code of the first that fails."""
    for step in table.steps(data, out):
        shown = shlex.join(step.argv) + (f" > {out / step.stdout}" if step.stdout else "")
        if dry_run:
            print(shown)
            continue
        if (out / step.output).exists():
            print(f"kept {out / step.output}", file=sys.stderr)
            continue
        print(shown, file=sys.stderr, flush=True)
        program = [sys.executable] if step.argv[0] == "python" else [sys.executable, "-m", "ds4d"]
        more = _continued(step, (out / step.output).parent)
        code, text = _call([*program, *step.argv[1:], *more], captured=step.stdout is not None)
        if code:
            print(f"failed with exit code {code}: {shown}", file=sys.stderr)
            return code
        if step.stdout is not None:
            (out / step.stdout).write_text(text, encoding="utf-8")
    return 0


def _continued(step: Step, folder: Path) -> list[str]:
    """The option that continues an interrupted run; an interrupted evaluation is removed, to be made again."""
    if step.argv[1] == "generate" and (folder / "config.json").is_file():
        return ["--resume"]
    if step.argv[1] in ("eval", "compare") and folder.is_dir():
        shutil.rmtree(folder)
    return []


def _call(argv: list[str], *, captured: bool) -> tuple[int, str]:
    done = subprocess.run(argv, stdout=subprocess.PIPE if captured else sys.stderr, text=True)
    return done.returncode, done.stdout or ""


def main() -> int:
    """Lists the tables, or makes one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES)
    parser.add_argument("--data", type=Path, default=Path("DATA"), help="folder with gltf, minions, videos and so on")
    parser.add_argument("--out", type=Path, default=Path("tables"), help="folder for everything that is made")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    args = parser.parse_args()
    if args.table is None:
        for name, table in TABLES.items():
            missing = table.missing(args.data)
            print(f"{name}: {table.page}" + (f"; open, needs {', '.join(missing)}" if missing else ""))
            for step in table.steps(args.data, args.out / name):
                print(f"    {shlex.join(step.argv)}")
        return 0
    table, out = TABLES[args.table], args.out / args.table
    if args.dry_run:
        return run(table, args.data, out, dry_run=True)
    if missing := table.missing(args.data):
        print(f"{args.table} cannot be made here: it needs {', '.join(missing)}.", file=sys.stderr)
        return 2
    if not args.data.is_dir():
        print(f"--data must be the folder of the sets, got {args.data}.", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    code = run(table, args.data, out, dry_run=False)
    record = {**machine(), "table": args.table, "seconds": round(time.perf_counter() - began, 1), "exit_code": code}
    (out / "machine.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
