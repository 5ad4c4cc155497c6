"""Whether the fused parts of a step are right on a GPU, and what each is worth, in one run of some four minutes.

    python benchmarks/fused_parts.py DATA/gltf/barbarian-run

In this order, each printed as it comes: the tests of the fused parts on this GPU; a whole fit without them and its
scores; steps that go on from its end with no part, each part alone, all but each, and all of them, with and without
CUDA graphs, with matrix products in TF32; a whole fit with all of them and its scores. A part that is right and worth
it goes into `_ON` in `ds4d/core/fused.py`.

`kernels` are what the device does in a step, copies included; `launches` what the host asks for, where a graph is one;
`busy` is how long the device works. `recording` is the time of a fit in which CUDA graphs were recorded.
"""

import argparse
import dataclasses
import math
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from machine import machine
from profile_steps import count_kernels

from ds4d.config import GenerateConfig
from ds4d.core import FUSED_PARTS, Part, choose_device, fused_parts, matmul_precision, record_graphs
from ds4d.data import load_views
from ds4d.evaluation import evaluate, score_training_views
from ds4d.pipeline import prepare
from ds4d.presets import PRESETS
from ds4d.training import Trainer
from ds4d.training.cuda_graphs import Recordings

_TESTS = ("tests/contracts", "tests/training/test_cuda_graphs.py", "tests/training/test_sampling.py")
_WARM, _TIMED = 4, 25  # steps of each setting


def check(workers: int) -> None:
    """Runs the tests of the fused parts that need a GPU and prints the end of their report."""
    root = Path(__file__).resolve().parents[1]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-k",
        "fused or graph or batch",
        "-n",
        str(workers),
        *_TESTS,
    ]
    report = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout
    print("\n".join(line for line in report.splitlines() if "SKIPPED" not in line)[-4000:], flush=True)


@contextmanager
def recording_timed(trainer: Trainer) -> Generator[list[float], None, None]:
    """The seconds of each recording of a CUDA graph within the block."""
    seconds = []

    def timed(parts: Sequence[Part]) -> list[Part]:
        began = time.perf_counter()
        replays = record_graphs(parts)
        seconds.append(time.perf_counter() - began)
        return replays

    trainer.recordings = Recordings(trainer.functions, trainer.recordings.is_on, timed)
    yield seconds
    trainer.recordings = Recordings(trainer.functions, trainer.recordings.is_on)


def whole_fit(source: Path, config: GenerateConfig, device: torch.device, parts: Iterable[str]) -> Trainer:
    """A whole fit with these parts; prints its figures."""
    with fused_parts(*parts):
        began = time.perf_counter()
        trainer = prepare(load_views(source, config.views), config, device)
        ready = time.perf_counter()
        with recording_timed(trainer) as recording:
            for _ in trainer.run():
                pass
            done = time.perf_counter()
    if (source / "transforms_test.json").is_file():
        scores = evaluate(trainer.scene, trainer.renderer, source, "test").total
    else:
        scores = {"input_psnr": float(score_training_views(trainer.scene, trainer.renderer, trainer.video)[0])}
    found = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if not math.isnan(value))
    print(
        f"fit with {' '.join(parts) or 'no part'}: {done - began:.1f} s, {ready - began:.1f} before the first step, "
        f"{sum(recording):.1f} in {len(recording)} recordings; "
        f"{trainer.scene.gaussians.num_gaussians} Gaussians; {found}",
        flush=True,
    )
    return trainer


def time_steps(trainer: Trainer) -> float:
    """Milliseconds of a step."""
    for _ in range(_WARM):
        trainer._take_step()
    _wait(trainer.scene.device)
    began = time.perf_counter()
    for _ in range(_TIMED):
        trainer._take_step()
    _wait(trainer.scene.device)
    return 1e3 * (time.perf_counter() - began) / _TIMED


def row_of(name: str, trainer: Trainer) -> list[tuple[str, float, float]]:
    """Prints a line of the table; returns the longest kernels."""
    began = time.perf_counter()
    try:
        milliseconds = time_steps(trainer)
    except Exception as error:  # the others are still worth measuring
        print(f"| {name} | {type(error).__name__}: {str(error)[:300]!r} |", flush=True)
        return []
    launches = kernels = busy = math.nan
    longest: list[tuple[str, float, float]] = []
    if trainer.scene.device.type == "cuda":
        launches, kernels, busy, _, longest = count_kernels(trainer)
    seconds = time.perf_counter() - began
    print(f"| {name} | {milliseconds:.2f} | {busy:.2f} | {kernels:.0f} | {launches:.0f} | {seconds:.1f} |", flush=True)
    return longest


def compare_steps(trainer: Trainer, is_over: Callable[[], bool]) -> None:
    """Prints a table of the settings, the most telling ones first, until the time is over."""
    settings = {"none": (), "all": FUSED_PARTS, **{f"{part} alone": (part,) for part in FUSED_PARTS}}
    settings |= {f"all but {part}": tuple(other for other in FUSED_PARTS if other != part) for part in FUSED_PARTS}
    print(
        "\n| parts | ms a step | busy | kernels | launches | s measured |\n|---|---:|---:|---:|---:|---:|", flush=True
    )
    longest = []
    for name, parts in settings.items():
        if is_over():
            break
        with fused_parts(*parts):
            kernels = row_of(name, trainer)
        longest = kernels if name == "all" else longest
        if name == "all":
            with fused_parts(*parts), matmul_precision("high"):
                trainer.recordings.forget()  # recorded anew, with these products
                row_of("all, products in TF32", trainer)
            trainer.recordings.is_on, was_on = False, trainer.recordings.is_on
            with fused_parts(*parts):
                row_of("all, without graphs", trainer)
            trainer.recordings.is_on = was_on
    print("\n| longest kernels with all parts | ms | calls |\n|---|---:|---:|")
    for name, milliseconds, calls in longest:
        print(f"| {name[:90].replace('|', '/')} | {milliseconds:.3f} | {calls:.1f} |")
    print(flush=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Checks, fits and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--skip-tests", action="store_true", help="measure at once")
    parser.add_argument("--workers", type=int, default=8, help="processes of the tests")
    parser.add_argument(
        "--seconds", type=float, default=200.0, help="begin no further setting of the table after these"
    )
    parser.add_argument("--steps", type=int, help="dynamic steps of each fit, in place of the preset's")
    args = parser.parse_args()
    began, device, config = time.perf_counter(), choose_device(args.device), PRESETS[args.preset]()
    if (args.set / "transforms_test.json").is_file():
        config = dataclasses.replace(config, views=dataclasses.replace(config.views, splits=("front", "mv")))
    if args.steps is not None:
        training = dataclasses.replace(config.training, static_steps=args.steps, dynamic_steps=args.steps)
        config = dataclasses.replace(config, training=training)
    print(machine(), args.set.name, args.preset, flush=True)
    if not args.skip_tests:
        check(args.workers)
        print(f"{time.perf_counter() - began:.0f} s so far", flush=True)
    trainer = whole_fit(args.set, config, device, ())
    compare_steps(trainer, lambda: time.perf_counter() - began > args.seconds)
    whole_fit(args.set, config, device, FUSED_PARTS)
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
