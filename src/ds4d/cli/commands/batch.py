"""`ds4d batch`: fits many videos, with claims that several machines share."""

import functools
import math
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from ds4d.batch.batch import Batch, open_batch, open_store
from ds4d.batch.board import Board, page, read_board
from ds4d.batch.checked import CheckedOptions
from ds4d.batch.executors import Executor, ProcessExecutor, visible_devices
from ds4d.batch.manifest import OptionChecks, read_items
from ds4d.batch.shards import read_shard, share
from ds4d.batch.storage import is_url
from ds4d.batch.worker import DiskFullError, check_idle_timeout, work
from ds4d.cli.arguments import CommandLine, Flag
from ds4d.cli.batch_display import BatchDisplay, batch_display, describe_board
from ds4d.cli.checks import check_output
from ds4d.cli.console import Console
from ds4d.cli.result import MEANINGS, ExitCode, Outcome, ds4d_command, open_in_browser
from ds4d.presets import PresetName

_FRAMES, _VIEWS = 32, 7  # of a run whose options leave them open
_BOARD_PAUSE, _BOARD_FRACTION = 10.0, 0.01  # least seconds between two boards, and most of the time that they take


@dataclass(frozen=True)
class BatchArguments:
    """Fits many videos, each into a folder of its own; one that fails never stops the rest.

    The same command continues an interrupted batch. Given on several machines with the same output, they share the
    work: each object is claimed by one of them, and the claim of one that has died is taken over.

    Attributes:
        source: manifest (CSV, JSONL or Parquet with the columns input, name, and any option of ds4d generate), folder
            of videos, or pattern in quotes; paths, or s3://, gs://, https:// addresses.
        output: folder for the runs, or s3:// or gs:// address: new, or that of the same batch.
        preset: preset of the rows that name none, as for ds4d generate.
        set: more options for all rows, such as size=64 outputs.fps=12; columns of the manifest override them.
        jobs: number of fits that run at the same time, each in a process of its own; with --ray by default what the
            cluster can take.
        shard: do a share only, as I/N; none for everything. By default a Slurm array, SkyPilot, srun, or RANK and
            WORLD_SIZE decide.
        retries: number of further attempts after one that failed for a reason that may pass.
        retry_failed: give objects that have failed in an earlier run of this command all their attempts again.
        ray: run the fits on a Ray cluster: its address, auto for the one that this machine belongs to, or local.
        cpus_per_fit: number of CPUs that a fit takes on a Ray cluster.
        gpus_per_fit: number of GPUs that a fit takes on a Ray cluster; with a fraction, several share one.
        price: dollars per hour of this machine, which its jobs share; for the board.
        timeout: time after which a worker that shows no sign of life has lost its claims, seconds.
        idle_timeout: time after which a worker that finds nothing to start leaves, seconds, at least twice --timeout:
            for rented machines, which would wait for the last fits of others.
        hang: time after which a fit without progress is ended and tried again, seconds.
        dry_run: check all rows, show the state of the batch, and fit nothing.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    output: Annotated[str, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    preset: PresetName | None = None
    set: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="[OPTION=VALUE ...]", help_behavior_hint="(default: none)")
    ] = ()
    jobs: int | None = None
    shard: Annotated[str, tyro.conf.arg(metavar="I/N", help_behavior_hint="(default: by the environment)")] = ""
    retries: int = 2
    retry_failed: Flag = False
    ray: Annotated[str, tyro.conf.arg(metavar="ADDRESS", help_behavior_hint="(default: none)")] = ""
    cpus_per_fit: float = 1.0
    gpus_per_fit: float = 0.0
    price: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    timeout: float = 120.0
    idle_timeout: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    hang: float = 1800.0
    dry_run: Flag = False

    def __post_init__(self) -> None:
        for name in ("jobs", "retries", "timeout", "hang", "price", "cpus_per_fit", "gpus_per_fit"):
            least, value = {"jobs": 1, "timeout": 4.0, "hang": 1.0}.get(name, 0), getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise ValueError(f"{name} must be at least {least:g}, got {value}.")
        if self.idle_timeout is not None:
            check_idle_timeout(self.idle_timeout, self.timeout)


COMMAND = CommandLine(
    "batch",
    BatchArguments,
    (
        ("batch videos -o runs --preset tiny --jobs 2", "fit all videos of a folder, two at a time"),
        ("batch objects.csv -o runs", "fit the rows of a manifest; again to continue, also from another machine"),
        ("batch objects.csv -o s3://bucket/runs --shard 1/8", "do an eighth of it, into a bucket"),
    ),
)


@functools.cache
def option_checks() -> OptionChecks:
    """The options of `ds4d generate`, checked as it checks them."""
    from ds4d.cli.commands import generate

    known = re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", generate.COMMAND.help(show_all=True))

    def check(options: Sequence[str]) -> None:
        with generate.COMMAND.naming_options():
            generate.parse(["input", "-o", "run", *options])

    return OptionChecks(frozenset(known), check)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command; a failed object keeps no other from being done."""
    arguments = COMMAND.parse(argv)
    if not is_url(arguments.output):
        check_output(Path(arguments.output), is_folder=True)
    shard = read_shard(arguments.shard or None, os.environ)
    defaults = _defaults(arguments)
    checked = CheckedOptions(open_store(arguments.output), option_checks)
    items = read_items(arguments.source, checked.checks, defaults)
    batch = open_batch(arguments.output, arguments.source, items, defaults)
    checked.save()
    wanted = share([item.name for item in items], shard)
    if shard is not None:
        console.print(f"share {shard[0]} of {shard[1]}: {len(wanted)} of {len(items)} objects")
    again = [ds4d_command("batch", *argv)]
    if arguments.dry_run:
        return _outcome(_Boards(batch, arguments).write(), arguments, wanted, [])
    try:
        boards = _work(batch, wanted, arguments, console)
    except DiskFullError as error:
        message = f"this machine has no space left: {error}; what it had begun is left to others."
        return Outcome(error=message, next=again, exit_code=ExitCode.FAILURE)
    except (KeyboardInterrupt, SystemExit) as stop:
        code = ExitCode.INTERRUPTED if isinstance(stop, KeyboardInterrupt) else ExitCode.TERMINATED
        return Outcome(error=f"{MEANINGS[code]}; finished objects are kept.", next=again, exit_code=code)
    return _outcome(boards.write(), arguments, wanted, again)


class _Boards:
    """Reads the board again and again, by an observer of its own."""

    def __init__(self, batch: Batch, arguments: BatchArguments) -> None:
        self._batch, self._arguments, self._next = batch, arguments, 0.0
        self._observer = batch.claims(retries=arguments.retries, timeout=arguments.timeout, reads_all=True)

    def write(self) -> Board:
        """Reads the board and writes its page."""
        began = time.monotonic()
        price = self._arguments.price
        slots = 1 if self._arguments.ray else self._arguments.jobs or 1
        board = read_board(self._batch.items, self._observer, None if price is None else price / slots)
        self._batch.write_board(page(board, f"batch of {self._arguments.source}"))
        now = time.monotonic()
        self._next = now + max(_BOARD_PAUSE, (now - began) / _BOARD_FRACTION)
        return board

    def is_due(self) -> bool:
        """Whether it is time to write it again."""
        return time.monotonic() >= self._next


def _work(batch: Batch, wanted: Sequence[str], arguments: BatchArguments, console: Console) -> _Boards:
    claims = batch.claims(retries=arguments.retries, timeout=arguments.timeout)
    queue, boards = batch.queue(claims, wanted), _Boards(batch, arguments)
    board = boards.write()  # which also checks that what is done is what is asked for
    if arguments.retry_failed:
        console.print(f"{queue.reopen_failed()} failed objects are tried again")
        boards = _Boards(batch, arguments)  # its observer has not seen them fail
        board = boards.write()
    jobs = batch.jobs(hang_seconds=arguments.hang)
    patience = math.inf if arguments.idle_timeout is None else arguments.idle_timeout
    events = work(jobs, claims, queue, _executor(batch, arguments), idle_timeout=patience)
    with batch_display(console) as display, closing(cast(Any, events)):
        display.board(board)
        _show(events, display, boards)
    return boards


def _show(events: Any, display: BatchDisplay, boards: _Boards) -> None:
    for event in events:
        display.event(event)
        if boards.is_due():
            display.board(boards.write())


def _executor(batch: Batch, arguments: BatchArguments) -> Executor:
    if not arguments.ray:
        return ProcessExecutor(arguments.jobs or 1, visible_devices())
    from ds4d.batch.ray_executor import RayExecutor

    return RayExecutor(
        arguments.ray,
        arguments.jobs,
        cpus=arguments.cpus_per_fit,
        gpus=arguments.gpus_per_fit,
        gibibytes=lambda job: _gibibytes(job.item.options),
    )


@functools.cache
def _gibibytes(options: tuple[str, ...]) -> float:
    """The main memory that a fit is predicted to take, by its options alone: its video may be anywhere."""
    import torch

    from ds4d.cli.commands import generate
    from ds4d.runs import predict_run

    parsed = generate.parse(["input", "-o", "run", *options])
    frames = parsed.settings.video.frames or _FRAMES
    return predict_run(frames, _VIEWS, parsed.settings, torch.device("cpu")).gibibytes


def _defaults(arguments: BatchArguments) -> dict[str, Any]:
    """The options of all rows."""
    defaults: dict[str, Any] = {} if arguments.preset is None else {"preset": arguments.preset}
    for text in arguments.set:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise ValueError(f"--set must be OPTION=VALUE, got {text!r}.")
        defaults[name] = value
    return defaults


def _outcome(board: Board, arguments: BatchArguments, wanted: Sequence[str], again: Sequence[str]) -> Outcome:
    mine = set(wanted)
    failed = [row for row in board.rows if row.state == "failed" and row.name in mine]
    place = f"{arguments.output.rstrip('/')}/board.html"
    files = [] if is_url(arguments.output) else [Path(place)]
    next_steps = [open_in_browser(Path(place))] if files else []
    text, result = describe_board(board), {**board.record(), "board": place}
    if not failed or arguments.dry_run:
        is_over = all(row.state in ("done", "failed") for row in board.rows if row.name in mine)
        return Outcome(text, result, files, next_steps if is_over else [*next_steps, *again])
    causes = ", ".join(f"{count} {cause}" for cause, count in Counter(row.cause for row in failed).most_common())
    error = f"{len(failed)} of {len(mine)} objects failed ({causes}); the errors are on {place}."
    steps = [*next_steps, *(f"{command} --retry-failed" for command in again)]
    return Outcome(text, result, files, steps, error, ExitCode.FAILURE)
