"""Fits the whole plan of an ablation, one after the other or several side by side.

results/     one file per finished fit (see `ds4d.ablation.results`); what is there is not fitted again
failures/    the traceback of every fit that failed; it is tried again by the next run

`ablate` yields what happens as it happens and knows no screen. A run that is stopped loses only the fits in hand.
"""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import torch

from ds4d.ablation.cases import Case, Score
from ds4d.ablation.results import Result, check_comparable, fit_name, read_results, result_path, write_result
from ds4d.ablation.rows import rows
from ds4d.config import GenerateConfig
from ds4d.core import peak_memory, reset_peak_memory, to_dict
from ds4d.io import atomic_path

FAILURES = "failures"
_IRRELEVANT = ("outputs", "log", "checkpoint_every", "seed")  # to what a fit finds; the seed stands by itself

FitFunction = Callable[[Case, GenerateConfig, torch.device], Score]


@dataclass(frozen=True)
class Fit:
    """One cell of the plan.

    Attributes:
        case: what is fitted and scored.
        row: its name.
        preset: what all rows share.
        config: all settings of the row, with the seed.
    """

    case: Case
    row: str
    preset: GenerateConfig
    config: GenerateConfig

    @property
    def name(self) -> str:
        """Of the fit, and of its files."""
        return fit_name(self.case.name, self.row, self.config.seed)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the fit, but where its folder stands; as json holds it."""
        case = {name: value for name, value in asdict(self.case).items() if name != "data"}
        return {
            "case": case,
            "seed": self.config.seed,
            "preset": _relevant(self.preset),
            "row": _relevant(self.config),
        }


@dataclass(frozen=True)
class Planned:
    """The plan stands: so many fits, of which so many are there already."""

    total: int
    kept: int


@dataclass(frozen=True)
class FitDone:
    """A fit is done and its result written.

    Attributes:
        number: counted from 1, after those that were there already.
        total: of the plan.
        result: its figures.
        seconds_left: estimate for the rest of the plan.
    """

    number: int
    total: int
    result: Result
    seconds_left: float


@dataclass(frozen=True)
class FitFailed:
    """A fit failed; the others go on.

    Attributes:
        number: counted from 1, after those that were there already.
        total: of the plan.
        name: of the fit.
        error: in one line.
        seconds_left: estimate for the rest of the plan.
    """

    number: int
    total: int
    name: str
    error: str
    seconds_left: float


Event = Planned | FitDone | FitFailed


@dataclass(frozen=True)
class _Measured:
    score: Score
    peak_memory_bytes: dict[str, int]
    device: str


@dataclass(frozen=True)
class _Error:
    line: str
    trace: str


def plan(cases: Sequence[Case], preset: GenerateConfig, row_names: Sequence[str], seeds: int) -> list[Fit]:
    """Every case with every row and seed; all rows of a case and seed follow each other, so that a part is a table.

    Args:
        cases: what is fitted.
        preset: what the rows share.
        row_names: keys of `ROWS`; all of them if none is given.
        seeds: how many, from 0; at least 1.

    Raises:
        ValueError: there is no such row, or no seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}.")
    return [
        Fit(case, name, preset, replace(config, seed=seed))
        for seed in range(seeds)
        for case in cases
        for name, config in rows(preset, row_names).items()
    ]


def ablate(
    fits: Sequence[Fit], folder: Path, function: FitFunction, *, device: torch.device, jobs: int = 1
) -> Iterator[Event]:
    """Fits what the folder does not hold yet, and writes a file for each fit.

    Args:
        fits: the plan.
        folder: of the ablation; results in it must have been made with the same settings.
        function: fits a case and scores it: `ds4d.ablation.fit_case`. With several jobs it must be a module's.
        device: where to work.
        jobs: how many fits run side by side, each in a process of its own, at least 1.

    Raises:
        ValueError: `jobs` is too small, or the folder holds results of other settings.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    there = {result.name: result for result in read_results(folder)}
    check_comparable(
        [(str(result_path(folder, name)), result.row, result.settings) for name, result in there.items()]
        + [(f"the fit {fit.name}", fit.row, fit.settings) for fit in fits]
    )
    missing = [fit for fit in fits if fit.name not in there]
    kept = len(fits) - len(missing)
    yield Planned(len(fits), kept)
    jobs = min(jobs, len(missing))
    outcomes = _in_turn(missing, function, device) if jobs < 2 else _side_by_side(missing, function, device, jobs)
    began = time.perf_counter()
    for done, (fit, outcome) in enumerate(outcomes, start=1):
        left = (time.perf_counter() - began) / done * (len(missing) - done)
        failure = folder / FAILURES / f"{fit.name}.txt"
        if isinstance(outcome, _Error):
            with atomic_path(failure) as temporary:
                temporary.write_text(outcome.trace, encoding="utf-8")
            yield FitFailed(kept + done, len(fits), fit.name, outcome.line, left)
        else:
            result = _result(fit, outcome, max(jobs, 1))
            write_result(folder, result)
            failure.unlink(missing_ok=True)
            yield FitDone(kept + done, len(fits), result, left)


def _in_turn(
    fits: Sequence[Fit], function: FitFunction, device: torch.device
) -> Iterator[tuple[Fit, _Measured | _Error]]:
    for fit in fits:
        yield fit, _attempt(fit, function, device)


def _side_by_side(
    fits: Sequence[Fit], function: FitFunction, device: torch.device, jobs: int
) -> Iterator[tuple[Fit, _Measured | _Error]]:
    """Fits as they become done. A process that dies takes one fit with it and is replaced."""
    threads = max(1, torch.get_num_threads() // jobs)
    waiting = list(reversed(fits))
    busy: dict[Connection, tuple[_Worker, Fit]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                _hand_out(_Worker(function, device, threads), waiting.pop(), busy)
            for pipe in wait(list(busy)):
                worker, fit = busy.pop(cast(Connection, pipe))
                outcome = worker.outcome()
                if waiting and worker.process.is_alive():
                    _hand_out(worker, waiting.pop(), busy)
                else:
                    worker.stop()
                yield fit, outcome
    finally:
        for worker, _ in busy.values():
            worker.stop()


class _Worker:
    """A process that makes one fit after the other."""

    def __init__(self, function: FitFunction, device: torch.device, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, function, str(device), threads), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is noticed when the process dies

    def outcome(self) -> _Measured | _Error:
        """What came of the fit in hand; waits for it."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            line = f"its process ended with status {self.process.exitcode}; the memory may have run out"
            return _Error(line, line)

    def stop(self) -> None:
        """Ends the process, in the middle of a fit if need be."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _hand_out(worker: _Worker, fit: Fit, busy: dict[Connection, tuple[_Worker, Fit]]) -> None:
    with suppress(ConnectionError):  # a process that is dead already is noticed where its answer is awaited
        worker.pipe.send(fit)
    busy[worker.pipe] = (worker, fit)


def _work(pipe: Connection, function: FitFunction, device: str, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    torch.set_num_threads(threads)
    with suppress(EOFError, ConnectionError):  # nobody is left to work for
        while True:
            pipe.send(_attempt(pipe.recv(), function, torch.device(device)))


def _attempt(fit: Fit, function: FitFunction, device: torch.device) -> _Measured | _Error:
    try:
        reset_peak_memory(device)
        score = function(fit.case, fit.config, device)
        return _Measured(score, peak_memory(device), _device_name(device))
    except Exception as error:  # whatever a fit fails from, the others are worth having
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return _Error(line, traceback.format_exc())


def _result(fit: Fit, measured: _Measured, jobs: int) -> Result:
    return Result(
        case=fit.case.name,
        scored_on=fit.case.scored_on,
        row=fit.row,
        seed=fit.config.seed,
        settings=fit.settings,
        metrics=measured.score.metrics,
        seconds=measured.score.seconds,
        num_gaussians=measured.score.num_gaussians,
        peak_memory_bytes=measured.peak_memory_bytes,
        device=measured.device,
        side_by_side=jobs,
    )


def _relevant(config: GenerateConfig) -> Mapping[str, Any]:
    return {name: value for name, value in to_dict(config).items() if name not in _IRRELEVANT}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
