"""Processes that train one scene together, as `torchrun` and `--gpus` start them, but forked from the test."""

import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ds4d.training import Ranks

_SECONDS = 240  # for processes that should take a few


def in_processes(count: int, folder: Path, work: Callable[[Ranks], Any]) -> list[Any]:
    """What `work` returns in each of several processes; None of one that was killed."""
    folder.mkdir()

    def run(number: int) -> None:
        ranks = Ranks.join(number, count, store=dist.FileStore(str(folder / "store"), count))
        torch.save(work(ranks), folder / f"{number}.pt")

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(number,), daemon=True) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_SECONDS)
    assert all(process.exitcode in (0, -signal.SIGKILL) for process in processes)
    files = [folder / f"{number}.pt" for number in range(count)]
    return [torch.load(file, weights_only=False) if file.is_file() else None for file in files]
