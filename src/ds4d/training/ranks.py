"""The processes that train one scene together: each renders its share of every step's images.

All of them hold the whole scene and draw the same batch of (time, view) pairs. A loss is divided by the number of
images of all processes, so that the sum of the gradients is that of the step. Gradients, also those on the screen, are
summed by one collective after the backward pass, outside of CUDA graphs; every process gets the same bits, and so takes
the same step and makes the same decisions in density control. The first process alone writes files.
"""

import datetime
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor

from ds4d.training.sampling import SampleBatch

_LONGEST_WAIT = datetime.timedelta(days=1)  # others wait for the first one's generated views


class RankLostError(RuntimeError):
    """Another process of the run has ended, so that no further step can be taken."""


@dataclass(frozen=True)
class Share:
    """The images of a step that one process renders.

    Attributes:
        batch: its times and views.
        all_views: view indices of all images of the step; None where one process renders all.
        part: number of its images by that of all; 0 where there are fewer images than processes, and this one renders
            an image that does not count; None where one process renders all.
        times: its times among those of the step.
        views: its views among those of each time.
        leads: whether no process before it has the same times.
    """

    batch: SampleBatch
    all_views: Int[Tensor, " A"] | None = None
    part: float | None = None
    times: slice = field(default_factory=lambda: slice(None))
    views: slice = field(default_factory=lambda: slice(None))
    leads: bool = True


class Ranks:
    """One of the processes; by default the only one, where every method is free.

    Args:
        number: number of this process, from 0.
        count: number of processes. Beyond one, torch's default process group must be there (`join`).
    """

    def __init__(self, number: int = 0, count: int = 1) -> None:
        self.number, self.count = number, count

    @classmethod
    def join(cls, number: int, count: int, *, store: dist.Store | None = None) -> "Ranks":
        """Joins the processes of a run; sums are made by NCCL on GPUs and by Gloo on the CPU.

        Args:
            number: number of this process, from 0.
            count: number of processes.
            store: where they meet; None: at MASTER_ADDR and MASTER_PORT, as torchrun sets them.

        Raises:
            RankLostError: the others do not come.
        """
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        with _lost_ranks():
            dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=_LONGEST_WAIT)
        return cls(number, count)

    def leave(self) -> None:
        """Leaves the others once all of them do."""
        if self.count > 1:
            self.wait()
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.number == 0

    def share(self, batch: SampleBatch) -> Share:
        """This process's images of a step: some of its times, or some views of a time that several processes share."""
        if self.count == 1:
            return Share(batch)
        num_times, num_views = batch.views.shape
        groups = min(num_times, self.count)
        group = self.number * groups // self.count
        first, end = (math.ceil(each * self.count / groups) for each in (group, group + 1))  # processes of the group
        times = slice(num_times * group // groups, num_times * (group + 1) // groups)
        views = slice(
            num_views * (self.number - first) // (end - first), num_views * (self.number - first + 1) // (end - first)
        )
        is_idle = views.start == views.stop
        if is_idle:
            views = slice(0, 1)
        own = SampleBatch(batch.times[times], batch.views[times, views], batch.backgrounds[times, views])
        part = 0.0 if is_idle else own.views.numel() / batch.views.numel()
        return Share(own, batch.views.flatten(), part, times, views, self.number == first)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors, of one data type on one device, by their sums over all processes.

        Raises:
            RankLostError: another process has ended.
        """
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _lost_ranks():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(total.view_as(tensor))

    def from_first(self, value: Any) -> Any:
        """What the first process gives here: any object; tensors arrive on the CPU.

        Raises:
            RankLostError: another process has ended.
        """
        if self.count == 1:
            return value
        box = [_on_cpu(value) if self.is_first else None]
        with _lost_ranks():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return value if self.is_first else box[0]

    def wait(self) -> None:
        """Waits until all processes are here.

        Raises:
            RankLostError: another process has ended.
        """
        self.from_first(None)
        self.add_up([torch.zeros(1)])

    @contextmanager
    def first_before_others(self) -> Generator[None, None, None]:
        """A block that the first process does before the others, which find in caches what it has left there."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {name: _on_cpu(part) for name, part in value.items()}
    return value


@contextmanager
def _lost_ranks() -> Generator[None, None, None]:
    """Names the cause of a collective that fails: its partners are gone."""
    try:
        yield
    except RuntimeError as error:  # those of torch.distributed, too
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise RankLostError(
            f"another process of this run has ended ({str(error).strip().splitlines()[0]}). Resume the run by the same "
            "command with --resume."
        ) from error
