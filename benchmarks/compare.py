"""How much faster one commit is than another, by pairs of runs in turn on the same machine.

    python benchmarks/compare.py main branch -- python benchmarks/fit.py /data/minions --preset cpu --device cpu
    python benchmarks/compare.py HEAD~1 HEAD -- bash -c 'ds4d generate /data/minions -o $(mktemp -d)/run --preset cpu'

Each commit is checked out into a temporary worktree, in which the command is run with the worktree's `src` before all
other packages: relative paths are those of the commit, so data need absolute ones. One run of each, which compiles and
fills caches, is not counted. Then the two alternate, and the one that begins alternates as well, so that what changes
slowly on the machine meets both. The table has the median and the extremes of wall seconds and of CPU seconds (user and
system, of the command and of all processes that it has waited for); CPU seconds are the ones to read where other work
runs beside. Ratios are of pairs, after by before; below 1 is faster. Their interval holds the true median with the
confidence that is printed, whatever the distribution; 6 runs are the least for 95 %.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_CONFIDENCE = 0.95
_SHOWN = 2000  # characters of the output of a command that failed


@dataclass(frozen=True)
class Seconds:
    """What one run took.

    Attributes:
        wall: seconds by the clock.
        cpu: processor seconds, user and system.
    """

    wall: float
    cpu: float


class CommandError(Exception):
    """A command ended with another exit code than 0, or could not be started."""


def timed(command: Sequence[str], folder: Path) -> Seconds:
    """Runs a command in a worktree and takes its time.

    Args:
        command: program and arguments.
        folder: worktree; its `src` comes first among the paths of Python's packages.

    Raises:
        CommandError: the command fails.
    """
    paths = [str(folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be started: {error}") from error
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise CommandError(f"exit code {done.returncode}:\n{done.stdout[-_SHOWN:]}")
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def in_turn(
    first: Callable[[], Seconds], second: Callable[[], Seconds], runs: int
) -> tuple[list[Seconds], list[Seconds]]:
    """Runs both so many times, by turns; which of the two begins alternates from pair to pair."""
    found: tuple[list[Seconds], list[Seconds]] = ([], [])
    for pair in range(runs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            found[side].append((first, second)[side]())
    return found


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """An interval that holds the true median with a confidence, and the confidence (sign test).

    The narrowest pair of order statistics with a confidence of at least 95 %; for less than 6 values, the extremes.
    """
    ordered, count = sorted(values), len(values)

    def outside(dropped: int) -> float:
        """Probability that the true median is beyond the `dropped + 1` outer values on one of the two sides."""
        return 2 * sum(math.comb(count, k) for k in range(dropped + 1)) / 2**count

    dropped = 0
    while 2 * (dropped + 1) < count and outside(dropped + 1) <= 1 - _CONFIDENCE:
        dropped += 1
    return ordered[dropped], ordered[count - 1 - dropped], max(0.0, 1 - outside(dropped))


def table_of(before: Sequence[Seconds], after: Sequence[Seconds]) -> str:
    """A Markdown table of both clocks."""
    lines = [
        "| seconds | before: median (least to most) | after: median (least to most) | ratio | interval |",
        "|---|---|---|---:|---|",
    ]
    for name in ("wall", "cpu"):
        sides = [[getattr(run, name) for run in runs] for runs in (before, after)]
        ratios = [b / max(a, 1e-9) for a, b in zip(*sides, strict=True)]
        low, high, confidence = median_interval(ratios)
        cells = [f"{median(side):.2f} ({min(side):.2f} to {max(side):.2f})" for side in sides]
        interval = f"{low:.3f} to {high:.3f} ({100 * confidence:.0f} %)"
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {median(ratios):.3f} | {interval} |")
    return "\n".join(lines)


@contextmanager
def worktrees(repository: Path, commits: Sequence[str]) -> Generator[list[Path], None, None]:
    """A worktree of each commit, removed at the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="ds4d-compare-") as folder:
        made: list[Path] = []
        try:
            for i, commit in enumerate(commits):
                path = Path(folder) / str(i)
                git(repository, "worktree", "add", "--detach", str(path), commit)
                made.append(path)
            yield made
        finally:
            for path in made:
                git(repository, "worktree", "remove", "--force", str(path))


def git(repository: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        ValueError: it fails.
    """
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_of(repository: Path, name: str) -> str:
    """The hash of a commit.

    Raises:
        ValueError: there is none of this name.
    """
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except ValueError as error:
        message = f"{name!r} must be a commit of {repository}, got another name. See `git log` and `git branch`."
        raise ValueError(message) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares two commits and prints a table; the exit code is 2 for what cannot be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit, branch or tag")
    parser.add_argument("after", help="commit, branch or tag")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --: what to run in each")
    parser.add_argument("--runs", type=int, default=6, help="counted runs of each; 6 by default")
    parser.add_argument("--repository", type=Path, default=Path(__file__).resolve().parents[1])
    args = parser.parse_args(arguments)
    if args.runs < 1:
        parser.error(f"--runs must be at least 1, got {args.runs}.")
    try:
        commits = [commit_of(args.repository, name) for name in (args.before, args.after)]
        with worktrees(args.repository, commits) as folders:
            sides = [lambda folder=folder: timed(args.command, folder) for folder in folders]
            for side in sides:
                side()
            before, after = in_turn(*sides, args.runs)
    except (CommandError, ValueError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    names = [git(args.repository, "log", "-1", "--format=%h %s", commit) for commit in commits]
    print(json.dumps({"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2), "runs": args.runs}))
    print(f"before: {names[0]}\nafter: {names[1]}\n\n{table_of(before, after)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
