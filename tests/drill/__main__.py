"""Attacks ds4d and counts what it survives: `make drill`, or

    python tests/drill                                # the long form, some 10 minutes on 2 cores
    python tests/drill --short                        # some dozens
    python tests/drill --only "run JSON" --number 17  # one attack again

Seed, class and number determine an attack, except when signals arrive. ds4d survives it if it works, or
ends with one clear error and exit code 2 (130 or 143 after a signal). A run that was broken off continues to the same
bits. Prints a table by class; the exit code is 1 if anything failed. Needs fork, so Linux or macOS.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: forked processes have one thread anyway

import files
import runs
import torch
import visitors
from harness import AttackClass, Bench, Outcome, call, in_fork, run_attacks

CLASSES = {
    "random kills": AttackClass(runs.attack_by_kill, 60, 1, 300.0),
    "kills at replace": AttackClass(runs.attack_at_replace, 0, 1, 300.0),  # as many as there are places
    "signals": AttackClass(runs.attack_by_signal, 60, 1, 300.0),
    "full disk": AttackClass(runs.attack_by_full_disk, 16, 1, 300.0),
    "concurrency": AttackClass(runs.attack_by_concurrency, 18, 1, 300.0),
    "forks": AttackClass(runs.attack_by_fork, 8, 1, 300.0),
    "kernel cache": AttackClass(runs.attack_kernel_cache, 10, 0, 600.0),
    "threads": AttackClass(runs.attack_by_threads, 24, 0, 300.0),
    "soak": AttackClass(runs.attack_soak, 3, 0, 300.0),
    "large arrays": AttackClass(runs.attack_large_arrays, 8, 1, 300.0),
    "run JSON": AttackClass(files.attack_json, 500, 6),
    "input JSON": AttackClass(files.attack_input_json, 300, 4),
    "scenes": AttackClass(files.attack_scene, 400, 4),
    "checkpoints": AttackClass(files.attack_checkpoint, 160, 4),
    "media": AttackClass(files.attack_media, 600, 8),
    "shapes": AttackClass(files.attack_shapes, 1300, 12),
    "names": AttackClass(files.attack_names, 112, 6),
    "arguments": AttackClass(files.attack_arguments, 112, 4),
    "visitors": AttackClass(visitors.attack_viewer, 150, 4),
}

# Kinds of attack that are not made here, and why.
LEFT_OUT = {
    "hostile weights of pretrained networks": "they need packages and folders of those: tests/weights, tests/features",
    "power cuts": "no machine is switched off; the order of writes and syncs is tested: tests/io/test_atomic.py",
    "GPUs": "there is none on machines of continuous integration; tests marked gpu run elsewhere",
    "signals during imports": "attacks are forks of a process that has imported all: tests/cli/test_signals.py",
    "real browsers": "clients here speak the protocol themselves; Chromium in tests/viewer/test_hostile.py",
    "network file systems, other machines": "one machine has neither; locks are those of the operating system",
    "files of gigabytes": "they would need their size in memory or on the disk; limits are tested: tests/io",
    "fits of hours": "a soak is ten fits in a process; memory by the length of a clip: benchmarks/clip_memory.py",
}


def _prepare(folder: Path) -> tuple[Path, Path]:
    """Makes the sample and the run that are attacked; returns their folders."""
    sample, run = folder / "sample", folder / "reference"
    code, text = call(["sample", sample, "--size", "48", "--frames", "6", "--quiet"])
    assert code == 0, text
    bench = Bench(sample, run, folder)
    code, text = call(bench.generate(run))  # compiles and loads all kernels, which forked processes inherit
    assert code == 0, text
    began = time.monotonic()
    code, text = in_fork(lambda: call(bench.generate(folder / "timed"))[0], 300.0)
    assert code == 0, text
    (folder / "seconds").write_text(str(time.monotonic() - began))
    files.make_media(sample, folder)
    for command in (
        ["report", run, "-o", folder / "r.html"],
        ["export", run, "-o", folder / "w.html"],
        ["check", sample],
    ):
        call(command)  # imports what commands need
    gc.collect()
    gc.freeze()  # what the garbage collector does not touch need not be copied into forked processes
    return sample, run


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Makes the attacks that are asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="some dozens of attacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CLASSES, nargs="*", default=list(CLASSES), help="classes (default: all)")
    parser.add_argument("--number", type=int, nargs="*", help="these attacks alone")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all counts")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for counts and failures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, commit = time.monotonic(), _commit()
    with tempfile.TemporaryDirectory(prefix="ds4d-drill-") as name:
        folder = Path(name)
        os.environ["DS4D_CACHE"] = str(folder / "cache")  # the user's own is left alone
        sample, run = _prepare(folder)
        tasks = []
        for kind in options.only:
            group = CLASSES[kind]
            count = group.short if options.short else round(options.scale * group.count)
            if kind == "kills at replace" and not options.short:
                (folder / "replacements").mkdir()
                count = 2 * runs.count_replacements(Bench(sample, run, folder / "replacements"))
            tasks += [(kind, group, number) for number in (range(count) if options.number is None else options.number)]
        if "full disk" in options.only and not runs.can_mount():
            print("full disk: by limits on the size of files alone, as mounting is not allowed here", flush=True)
        outcomes = []
        for outcome in run_attacks(tasks, sample, run, folder / "attacks", options.seed, options.processes):
            outcomes.append(outcome)
            if outcome.failure:
                again = f"python tests/drill --seed {options.seed} --only {outcome.kind!r} --number {outcome.number}"
                print(f"FAILED {again}\n{outcome.failure}\n", flush=True)
    return _report(outcomes, options, commit, time.monotonic() - began)


def _report(outcomes: list[Outcome], options: argparse.Namespace, commit: str, seconds: float) -> int:
    tried = Counter(outcome.kind for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.failure]
    lost = Counter(outcome.kind for outcome in failed)
    print("| class | tried | survived |\n|---|---|---|")
    for kind, count in tried.items():
        print(f"| {kind} | {count} | {count - lost[kind]} |")
    print(f"| all | {len(outcomes)} | {len(outcomes) - len(failed)} |")
    for kind, reason in LEFT_OUT.items():
        print(f"left out: {kind} ({reason})")
    day = time.strftime("%Y-%m-%d")
    print(f"seed {options.seed}, commit {commit}, {day}, {seconds:.0f} s")
    if options.json:
        classes = {kind: {"tried": count, "survived": count - lost[kind]} for kind, count in tried.items()}
        failures = [{"class": one.kind, "number": one.number, "failure": one.failure} for one in failed]
        record = {"seed": options.seed, "commit": commit, "date": day, "seconds": round(seconds), "classes": classes}
        options.json.write_text(json.dumps({**record, "failures": failures, "left_out": LEFT_OUT}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
