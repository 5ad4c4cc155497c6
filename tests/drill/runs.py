"""Whole runs that are killed, interrupted, starved of disk space, doubled and forked, then compared bit by bit."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import torch
from harness import KILLED, RESULTS, Bench, check_ending, in_fork, same_results, survive

from ds4d.cli import main
from ds4d.core import large_arrays
from ds4d.io.atomic import leftovers

SECONDS = 120.0  # that one command of an attack may take


def _fork(argv: list[str], **how: object) -> tuple[int, str]:
    return in_fork(lambda: main([str(word) for word in argv]), SECONDS, **how)  # ty: ignore


def _recover(bench: Bench, run: Path) -> None:
    """Continues a run as its user would; the result must be that of a whole run, and nothing else be left."""
    resume = ["--resume"] if (run / "config.json").exists() else []
    words = bench.generate(run, *resume)
    code, text = _fork(words)
    check_ending(words, code, text, 0)
    assert same_results(run, bench.run), "the resumed run has another result"
    assert not list(leftovers(run)), f"temporary files are left: {list(leftovers(run))}"


def attack_by_kill(bench: Bench, random: Random, number: int) -> None:
    """SIGKILL at a random moment, up to three times, with resumes."""
    run = bench.folder / "run"
    duration = float((bench.run.parent / "seconds").read_text())
    for _ in range(random.choice([1, 1, 2, 3])):
        resume = ["--resume"] if (run / "config.json").exists() else []

        def kill(process: int) -> None:
            time.sleep(random.uniform(0, 1.1 * duration))
            os.kill(process, signal.SIGKILL)

        code, text = _fork(bench.generate(run, *resume), after=kill)
        assert code in (0, KILLED), text
        if code == 0:
            break
    _recover(bench, run)


def count_replacements(bench: Bench) -> int:
    """How many files a whole run puts in their place."""

    def counted() -> int:
        real, calls = os.replace, []
        os.replace = lambda *args, **more: (calls.append(args), real(*args, **more))[1]  # type: ignore[assignment]
        code = main(bench.generate(bench.folder / "counted"))
        (bench.folder / "count").write_text(str(len(calls)))
        return code

    code, text = in_fork(counted, SECONDS)
    assert code == 0, text
    return int((bench.folder / "count").read_text())


def attack_at_replace(bench: Bench, random: Random, number: int) -> None:
    """SIGKILL exactly before or after one `os.replace`: number 2 k and 2 k + 1 are those of the k-th call."""
    run = bench.folder / "run"
    point, before = number // 2, number % 2 == 0

    def die() -> int:
        real, calls = os.replace, []

        def replace(*args: str, **more: int) -> None:
            calls.append(args)
            if len(calls) == point + 1 and before:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*args, **more)
            if len(calls) == point + 1:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace  # type: ignore[assignment]
        return main(bench.generate(run))

    code, text = in_fork(die, SECONDS)
    assert code == KILLED or (code == 0 and point > 0), text
    _recover(bench, run)


def attack_by_signal(bench: Bench, random: Random, number: int) -> None:
    """SIGINT or SIGTERM, once or twice, to a fit, an export, a rendering or a report."""
    duration = float((bench.run.parent / "seconds").read_text())
    run, out = bench.folder / "run", bench.folder / "out"
    commands = [
        bench.generate(run), bench.generate(run),
        ["export", str(bench.run), "-o", str(out / "frames"), "--format", "ply"],
        ["render", str(bench.run), "-o", str(out / "x.mp4"), "--orbit", "--size", "96"],
        ["export", str(bench.run), "-o", str(out / "x.html")],
    ]  # fmt: skip
    words = commands[number % len(commands)]
    kind = random.choice([signal.SIGINT, signal.SIGTERM])
    twice, pause = random.random() < 0.3, random.choice([0.0, 0.02, 0.05])

    def send(process: int) -> None:
        time.sleep(0.05 + random.uniform(0, duration if words[0] == "generate" else 0.3 * duration))
        for _ in range(2 if twice else 1):
            os.kill(process, kind)
            time.sleep(pause)

    code, text = _fork(words, after=send)
    # A signal between the fork and the command, or after it, has Python's or the system's own answer.
    if code not in (-kind, 99):
        check_ending(words, code, text, 0, 128 + kind)
    hidden = [path for path in out.rglob(".*")] if out.exists() else []
    assert not hidden, f"temporary files are left: {hidden}"
    if words[0] == "generate":
        _recover(bench, run)


def attack_by_full_disk(bench: Bench, random: Random, number: int) -> None:
    """A file system that is full at some point, or files that may not grow; then room, and the run is continued."""
    run = bench.folder / "run"
    sizes = [4, 16, 64, 128, 256, 512, 1024, 2048]  # kilobytes
    size = sizes[number % len(sizes)] * 1024 + random.randrange(4096)
    if number % 2 and can_mount():
        disk = bench.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            run = disk / "run"
            words = bench.generate(run)
            code, text = _fork(words)
            check_ending(words, code, text, 0, 1, 2)
            subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
            _recover(bench, run)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        return

    def starve() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return main(bench.generate(run))

    code, text = in_fork(starve, SECONDS)
    check_ending(["generate"], code, text, 0, 1, 2)
    _recover(bench, run)


def can_mount() -> bool:
    """Whether a small file system of our own can be made."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None and _mounts()


def _mounts() -> bool:
    path = Path("/tmp") / f"ds4d-drill-{os.getpid()}"
    path.mkdir()
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(path)], capture_output=True).returncode:
            return False
        subprocess.run(["umount", str(path)], check=True)
        return True
    finally:
        path.rmdir()


def attack_by_concurrency(bench: Bench, random: Random, number: int) -> None:
    """Two fits or two resumes in one folder at once, or reads of a run that is being fitted."""
    run = bench.folder / "run"
    way = number % 3
    more: list[str] = []
    if way == 1:
        shutil.copytree(bench.run, run)
        for name in ("metrics.json", *RESULTS):
            (run / name).unlink()
        more = ["--resume"]
    second: list[tuple[int, str]] = []
    readers = [
        ["report", run, "-o", bench.folder / "r.html"],
        ["export", run, "-o", bench.folder / "x.ply", "--times", "0"],
    ]

    def meanwhile(process: int) -> None:
        time.sleep(random.uniform(0, 0.4))
        if way == 2:
            for turn in range(6):
                words = [str(word) for word in readers[turn % 2]] + ["--force"]
                code, text = _fork(words)
                check_ending(words, code, text)
        else:
            second.append(_fork(bench.generate(run, *more)))

    code, text = _fork(bench.generate(run, *more), after=meanwhile)
    check_ending(["generate"], code, text)
    if second:
        check_ending(["generate"], *second[0])
        assert code == 0 or second[0][0] == 0, f"both were refused: {text} {second[0][1]}"
    assert same_results(run, bench.run)


def attack_by_fork(bench: Bench, random: Random, number: int) -> None:
    """A fit with several threads, and another in a process that is forked from it."""
    torch.set_num_threads(random.choice([1, 2, 4]))
    first, second = bench.folder / "first", bench.folder / "second"
    torch.ones(600, 600).matmul(torch.ones(600, 600)).sin().sum()  # starts torch's threads
    assert survive(bench.generate(first), 0) == 0
    words = bench.generate(second)
    code, text = _fork(words)
    check_ending(words, code, text, 0)
    assert same_results(first, bench.run) and same_results(second, bench.run)


def _start(words: list[str], folder: Path, **environment: str | None) -> subprocess.CompletedProcess:
    """A command in a new process, not a forked one; None unsets a variable."""
    merged = {**os.environ, **environment}
    variables = {name: value for name, value in merged.items() if value is not None}
    argv = [sys.executable, "-m", "ds4d", *words]
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=600, cwd=folder)
    check_ending(words, done.returncode, done.stdout + done.stderr, 0)
    return done


def attack_kernel_cache(bench: Bench, random: Random, number: int) -> None:
    """New processes with an empty, a warm, a damaged and no cache of compiled kernels: the same result."""
    cache = bench.run.parent / "kernels"
    run, blocked = bench.folder / "run", bench.folder / "file"
    words = bench.generate(run)
    if number == 0:
        _start(words, bench.folder, NUMBA_CACHE_DIR=str(cache))
    elif number == 1:
        _start(words, bench.folder, NUMBA_CACHE_DIR=str(bench.folder / "cold"))
    elif number == 2:
        blocked.touch()
        nowhere = str(blocked / "x")
        _start(words, bench.folder, NUMBA_CACHE_DIR=nowhere, HOME=None, XDG_CACHE_HOME=nowhere)
    else:
        broken = bench.folder / "cache"
        with contextlib.suppress(FileNotFoundError):
            shutil.copytree(cache, broken)
        files = sorted(path for path in broken.rglob("*.nb?") if path.is_file())
        for path in random.sample(files, min(len(files), 8)):
            data = bytearray(path.read_bytes())
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            path.write_bytes(data if random.random() < 0.7 else data[: random.randrange(len(data))])
        _start(words, bench.folder, NUMBA_CACHE_DIR=str(broken))
    assert same_results(run, bench.run), "another result"


_THREADS = (2, 3, 4, 8)
_KINDS = {
    "tiny": [],
    "cpu": ["--preset", "cpu"],
    "whole colors": ["--preset", "fast", "--init.sh-degree", "1"],
    "inflated": ["--views", "inflate"],
    "lifted, many Gaussians": ["--preset", "cpu", "--views", "lift", "--init.num-gaussians", "12000"],
}
_TWO_FITS = """
import sys, json, torch
from ds4d.cli import main
from ds4d.core import large_arrays
one, other, threads = json.loads(sys.argv[1])
torch.set_num_threads(1)
code = main(one)
torch.set_num_threads(threads)
sys.exit(code or main(other))
"""


def attack_by_threads(bench: Bench, random: Random, number: int) -> None:
    """One thread against 2, 3, 4 and 8, with several presets; then other settings of OpenMP, hash seeds and locales."""
    kinds, run = list(_KINDS.values()), bench.folder / "run"
    if number < len(kinds) * len(_THREADS):
        more, threads = kinds[number // len(_THREADS)], _THREADS[number % len(_THREADS)]
        one = bench.folder / "one"
        fits = [bench.generate(one, *more), bench.generate(run, *more), threads]
        argv = [sys.executable, "-c", _TWO_FITS, json.dumps(fits)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, cwd=bench.folder)
        check_ending(argv[3:], done.returncode, done.stdout + done.stderr, 0)
        assert same_results(run, one), f"another result with {threads} threads and {more}"
        return
    variables = {
        "OMP_NUM_THREADS": random.choice(["1", "2", "3", "4", "8"]), "PYTHONHASHSEED": str(random.randrange(2**32)),
        "NUMBA_NUM_THREADS": random.choice(["1", "2"]), "LANG": random.choice(["C", "C.UTF-8"]),
    }  # fmt: skip
    _start(bench.generate(run), bench.folder, **variables)
    assert same_results(run, bench.run), f"another result with {json.dumps(variables)}"


def attack_soak(bench: Bench, random: Random, number: int) -> None:
    """Ten fits in one process: the same result each time, and no growth of memory or open files."""

    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    more = [[], _KINDS["cpu"], _KINDS["inflated"]][number % 3]
    seen, first = [], bench.run if not more else bench.folder / "run0"
    for turn in range(10):
        run = bench.folder / f"run{turn}"
        assert survive(bench.generate(run, *more), 0) == 0
        assert same_results(run, first)
        seen.append((memory(), len(os.listdir("/proc/self/fd"))))
    assert seen[-1][0] < 1.1 * seen[1][0], f"memory grows: {seen}"
    assert seen[-1][1] <= seen[1][1] + 1, f"open files grow: {seen}"


def attack_large_arrays(bench: Bench, random: Random, number: int) -> None:
    """All arrays in temporary files; in a folder that is missing or full; or the fit is killed: nothing stays there."""
    run, temporary = bench.folder / "run", bench.folder / "temporary"
    way = ("space", "killed", "no folder", "full")[number % 4]
    if way != "no folder":
        temporary.mkdir()
    is_mounted = way == "full" and can_mount()
    if is_mounted:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={random.choice([4, 64, 512])}k", "tmpfs", str(temporary)]
        subprocess.run(mount, check=True)

    def fit() -> int:
        large_arrays.LIMIT_BYTES = random.choice([0, 1000, 100_000])
        large_arrays._BLOCK_BYTES = random.choice([2**16, 2**24])
        tempfile.tempdir = str(temporary)
        return main(bench.generate(run))

    def kill(process: int) -> None:
        time.sleep(random.uniform(0, float((bench.run.parent / "seconds").read_text())))
        os.kill(process, signal.SIGKILL)

    try:
        code, text = in_fork(fit, SECONDS, after=kill if way == "killed" else None)
        assert code == 0 or (way == "killed" and code == KILLED), text
        if way != "no folder":
            assert not list(temporary.iterdir()), "temporary files are left"
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(temporary)], check=True)
    if code == KILLED:
        _recover(bench, run)
    assert same_results(run, bench.run), "another result"
