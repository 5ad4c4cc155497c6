"""Attacks in forked processes under limits: what they may do, and how they end.

An attack is a function of a bench, a random generator and its number. It runs in a process of its own, forked from one
that has everything imported, and fails by raising. Seed, class and number determine it.
"""

import contextlib
import io
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from ds4d.cli import main

MEMORY = 3 * 2**30  # bytes that an attack may allocate beyond what its parent has
RESULTS = ("scene.safetensors", "baked.safetensors", "middle.ply")
EXPECTED = (ValueError, OSError)  # what readers raise for files that cannot be read
KILLED = -signal.SIGKILL

SHORT_RUN = [
    "--device", "cpu", "--preset", "tiny", "--size", "32", "--init.num-gaussians", "200", "--init.hull.resolution",
    "24",
    "--training.static-steps", "3", "--training.dynamic-steps", "5", "--field.hexplane.resolution", "8",
    "--outputs.size", "32", "--outputs.seconds", "0.2", "--outputs.fps", "4", "--outputs.sheet-size", "16",
    "--outputs.sheet-columns", "2", "--checkpoint-every", "2", "--log.every", "1", "--quiet",
]  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What attacks are made on.

    Attributes:
        sample: folder that `ds4d sample` has written.
        run: folder of a whole run on its video; not to be written into.
        folder: folder of one attack, empty when it begins.
    """

    sample: Path
    run: Path
    folder: Path

    def copy_of_run(self) -> Path:
        """A copy of the run that may be damaged."""
        return Path(shutil.copytree(self.run, self.folder / "run"))

    def generate(self, output: Path, *more: str) -> list[str]:
        """The command that made the run, into another folder."""
        return ["generate", str(self.sample / "front.mp4"), "-o", str(output), *SHORT_RUN, *more]


@dataclass(frozen=True)
class AttackClass:
    """Attacks of one kind.

    Attributes:
        attack: function that makes one attack; raises if ds4d does not survive it.
        count: number of attacks in the long form.
        short: number of attacks in the short form.
        seconds: time that one attack may take.
    """

    attack: Callable[[Bench, Random, int], None]
    count: int
    short: int
    seconds: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """How one attack ended; `failure` is empty if ds4d survived it."""

    kind: str
    number: int
    failure: str


def call(argv: Iterable[Any]) -> tuple[int, str]:
    """Runs `ds4d` in this process; returns its exit code and all that it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main([str(word) for word in argv])
    return int(code), printed.getvalue()


def survive(argv: Iterable[Any], *codes: int) -> int:
    """Runs `ds4d` in this process and checks that it works or ends with one clear line.

    Args:
        argv: the arguments.
        codes: exit codes that are right; by default 0 and 2.

    Returns:
        The exit code.
    """
    words = [str(word) for word in argv]
    code, text = call(words)
    check_ending(words, code, text, *codes)
    return code


def check_ending(words: list[str], code: int, text: str, *codes: int) -> None:
    """Raises AssertionError if a command did not end as it should."""
    said = f"{' '.join(words)[:300]} ended with {code}: {text[-1500:]}"
    assert code in (codes or (0, 2)), said
    assert "Traceback" not in text and "internal error" not in text, said
    if code:
        assert sum(line.startswith("ds4d: error: ") for line in text.splitlines()) == 1, said
    assert all(letter.isprintable() or letter in "\n\t\r\x1b" for letter in text), f"control characters: {said!r}"


def in_fork(
    work: Callable[[], object], seconds: float, after: Callable[[int], object] | None = None
) -> tuple[int, str]:
    """Runs a function in a forked process.

    Args:
        work: what it does; its result is the exit code if it is a number, else 0.
        seconds: when it is killed.
        after: what the parent does meanwhile, with the number of the process.

    Returns:
        Exit code, negative for a signal, and what it printed.
    """
    with tempfile.TemporaryFile() as output:
        process = os.fork()
        if process == 0:
            _run_and_exit(work, output.fileno())
        if after is not None:
            after(process)
        code = wait(process, seconds)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def wait(process: int, seconds: float) -> int:
    """The exit code of a child, which is killed after some seconds; that raises TimeoutError."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise TimeoutError(f"no end after {seconds:.0f} s")
        time.sleep(0.01)


def _run_and_exit(work: Callable[[], object], output: int) -> None:
    """Never returns: what is above belongs to the parent."""
    code = 99
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        result = work()
        code = int(result) if isinstance(result, int) else 0
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        with contextlib.suppress(BaseException):
            os._exit(code)


def limit_memory() -> None:
    """Makes allocations fail that exceed what an honest reader needs."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is not None:
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def same_results(one: Path, other: Path) -> bool:
    """Whether two runs have the same scene, bit for bit."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in RESULTS)


def run_attacks(
    tasks: Iterable[tuple[str, AttackClass, int]], sample: Path, run: Path, work: Path, seed: int, processes: int
) -> Iterable[Outcome]:
    """Makes attacks, several at a time, each in a process and a folder of its own.

    Yields:
        How each ended, in the order of their ends.
    """
    running: dict[int, tuple[str, AttackClass, int, Path, Any, float]] = {}
    pending = iter(tasks)
    done = False
    while running or not done:
        while len(running) < processes and not done:
            task = next(pending, None)
            if task is None:
                done = True
                break
            kind, group, number = task
            folder = work / f"{kind}-{number}"
            folder.mkdir(parents=True)
            output = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the attack has ended)
            process = os.fork()
            if process == 0:
                os.setpgid(0, 0)
                bench = Bench(sample, run, folder)
                _run_and_exit(lambda: group.attack(bench, Random(f"{seed}-{kind}-{number}"), number), output.fileno())  # noqa: B023 (called at once)
            running[process] = (kind, group, number, folder, output, time.monotonic())
        for process, (kind, group, number, folder, output, began) in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            hung = not ended and time.monotonic() - began > group.seconds
            if not ended and not hung:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)  # whatever it has started, too
            if hung:
                os.waitpid(process, 0)
            output.seek(0)
            text = output.read().decode("utf-8", "replace").strip()
            output.close()
            del running[process]
            shutil.rmtree(folder, ignore_errors=True)
            code = os.waitstatus_to_exitcode(status) if ended else 0
            failure = (
                f"no end after {group.seconds:.0f} s" if hung else f"exit code {code}: {text[-3000:]}" if code else ""
            )
            yield Outcome(kind, number, failure)
        time.sleep(0.002)
