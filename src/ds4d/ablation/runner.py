"""Runs the fits of an ablation, one after the other or several at the same time.

results/     one file per finished fit (see `ds4d.ablation.results`), which is not fitted again
failures/    the traceback of every fit that failed, which the next run tries again

`ablate` yields events and prints nothing. If it is interrupted, only the fits in progress are lost.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import torch

from ds4d.ablation.results import RESULTS, Result, check_comparable, fit_name, read_results, result_path, write_result
from ds4d.ablation.scenes import AblationScene, Score
from ds4d.ablation.variants import variant_configs
from ds4d.config import GenerateConfig
from ds4d.core import describe_device, peak_memory, reset_peak_memory, to_dict
from ds4d.io import atomic_path, check_writable

FAILURES = "failures"
# For the result of a fit; the seed is kept on its own.
_IRRELEVANT = ("outputs", "log", "checkpoint_every", "checkpoint_seconds", "seed", "allow_missing_weights")

FitFunction = Callable[[AblationScene, GenerateConfig, torch.device], Score]


@dataclass(frozen=True)
class Fit:
    """One fit of the plan.

    Attributes:
        scene: scene to fit and score.
        variant: name of the variant.
        preset: settings that all variants share.
        config: all settings of the variant, with the seed.
    """

    scene: AblationScene
    variant: str
    preset: GenerateConfig
    config: GenerateConfig

    @property
    def name(self) -> str:
        """Name of the fit and of its files."""
        return fit_name(self.scene.name, self.variant, self.config.seed)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the fit except the path of its data, as JSON."""
        scene = {name: value for name, value in asdict(self.scene).items() if name != "data"}
        return {
            "scene": scene,
            "seed": self.config.seed,
            "preset": _relevant(self.preset),
            "variant": _relevant(self.config),
        }


@dataclass(frozen=True)
class Planned:
    """The plan is made.

    Attributes:
        total: number of fits in the plan.
        kept: number of those that are finished already.
    """

    total: int
    kept: int


@dataclass(frozen=True)
class FitDone:
    """A fit is finished and its result written.

    Attributes:
        number: number of the fit, from 1, after those that were finished already.
        total: number of fits in the plan.
        result: what was measured.
        seconds_left: estimated time for the rest of the plan, seconds.
    """

    number: int
    total: int
    result: Result
    seconds_left: float


@dataclass(frozen=True)
class FitFailed:
    """A fit failed; the others continue.

    Attributes:
        number: number of the fit, from 1, after those that were finished already.
        total: number of fits in the plan.
        name: name of the fit.
        error: error in one line.
        seconds_left: estimated time for the rest of the plan, seconds.
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


def plan(scenes: Sequence[AblationScene], preset: GenerateConfig, variants: Sequence[str], seeds: int) -> list[Fit]:
    """Every scene with every variant and seed.

    All variants of a scene and seed follow each other, so that an unfinished ablation has a table.

    Args:
        scenes: scenes to fit.
        preset: settings that all variants share.
        variants: names of variants; all of `VARIANTS` if empty.
        seeds: number of random seeds, counted from 0; at least 1.

    Raises:
        ValueError: a variant is unknown, or there is no seed.
    """
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {seeds}.")
    return [
        Fit(scene, name, preset, replace(config, seed=seed))
        for seed in range(seeds)
        for scene in scenes
        for name, config in variant_configs(preset, variants).items()
    ]


def ablate(
    fits: Sequence[Fit], folder: Path, function: FitFunction, *, device: torch.device, jobs: int = 1
) -> Iterator[Event]:
    """Runs the fits that the folder does not hold yet, and writes a file for each.

    Args:
        fits: fits of the plan.
        folder: folder of the ablation; results in it must have the same settings.
        function: function that fits and scores a scene, as `ds4d.ablation.fit_scene` does; with several jobs it must be
            importable.
        device: device to work on.
        jobs: number of fits that run at the same time, each in a process of its own, at least 1.

    Raises:
        ValueError: `jobs` is too small, or the folder holds results of other settings or cannot be written to.
    """
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}.")
    for name in (RESULTS, FAILURES):
        check_writable(folder / name, folder)
    finished = {result.name: result for result in read_results(folder)}
    check_comparable(
        [(str(result_path(folder, name)), result.variant, result.settings) for name, result in finished.items()]
        + [(f"the fit {fit.name}", fit.variant, fit.settings) for fit in fits]
    )
    missing = [fit for fit in fits if fit.name not in finished]
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
    """Yields fits as they finish. A process that dies fails one fit and is replaced."""
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
    """A process that runs one fit after the other."""

    def __init__(self, function: FitFunction, device: torch.device, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, function, str(device), threads), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe closes when the process dies

    def outcome(self) -> _Measured | _Error:
        """The outcome of the current fit; waits for it."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            line = f"its process ended with status {self.process.exitcode}; the memory may have run out"
            return _Error(line, line)

    def stop(self) -> None:
        """Ends the process, even during a fit."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _hand_out(worker: _Worker, fit: Fit, busy: dict[Connection, tuple[_Worker, Fit]]) -> None:
    with suppress(ConnectionError):  # a dead process is noticed when its outcome is read
        worker.pipe.send(fit)
    busy[worker.pipe] = (worker, fit)


def _work(pipe: Connection, function: FitFunction, device: str, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            pipe.send(_attempt(pipe.recv(), function, torch.device(device)))


def _end_with_parent() -> None:
    """Ends this process in the middle of a fit when its parent is gone, however that ended: nobody reads the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(fit: Fit, function: FitFunction, device: torch.device) -> _Measured | _Error:
    try:
        reset_peak_memory(device)
        score = function(fit.scene, fit.config, device)
        return _Measured(score, peak_memory(device), describe_device(device))
    except Exception as error:  # a fit may fail from anything; the others still count
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return _Error(line, traceback.format_exc())


def _result(fit: Fit, measured: _Measured, jobs: int) -> Result:
    return Result(
        scene=fit.scene.name,
        scored_on=fit.scene.scored_on,
        variant=fit.variant,
        seed=fit.config.seed,
        settings=fit.settings,
        metrics=measured.score.metrics,
        seconds=measured.score.seconds,
        num_gaussians=measured.score.num_gaussians,
        not_computed=measured.score.not_computed,
        peak_memory_bytes=measured.peak_memory_bytes,
        device=measured.device,
        side_by_side=jobs,
    )


def _relevant(config: GenerateConfig) -> Mapping[str, Any]:
    return {name: value for name, value in to_dict(config).items() if name not in _IRRELEVANT}
