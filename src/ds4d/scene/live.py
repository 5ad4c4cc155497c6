"""A fitted scene that is evaluated at one time after another, as players do."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import fields
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import Part, record_graphs
from ds4d.scene.base import Timeline
from ds4d.scene.dynamic_gaussians import DynamicGaussians
from ds4d.types import Gaussians, RawGaussians, Similarity


class LiveScene:
    """A `Scene` whose motion is evaluated anew at every time, on a GPU by one recorded CUDA graph.

    The motion takes some hundred kernels of microseconds, which a CPU cannot launch as fast as a GPU finishes them. The
    first time is evaluated as ever, which loads the kernels; the graph is recorded at the second. Several times at
    once, and everything on the CPU, are evaluated by the scene itself.

    Args:
        scene: the scene; where the memory of its parameters or buffers is another one, the graph is recorded again.
        record: makes replays of functions; by default CUDA graphs for a scene on a GPU, else there are none.
    """

    def __init__(self, scene: DynamicGaussians, record: Callable[[Sequence[Part]], list[Part]] | None = None) -> None:
        self._scene = scene
        self._record = record
        self._key: list[tuple[int, torch.Size, torch.device]] = []
        self._replay: Part | None = None
        self._lock = Lock()  # of the tensors that a replay reads and writes; callers share one stream

    def __reduce__(self) -> tuple[type["LiveScene"], tuple[Any, ...]]:
        return LiveScene, (self._scene, self._record)  # a copy records its own graph

    @property
    def timeline(self) -> Timeline:
        """Times of the video's frames."""
        return self._scene.timeline

    @property
    def world(self) -> Similarity:
        """Similarity from world space to normalized space."""
        return self._scene.world

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self._scene.device

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """See `Scene`."""
        return self._scene.raw_at(times)

    @torch.no_grad()
    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """See `Scene`; without gradients."""
        record = self._record or (record_graphs if self.device.type == "cuda" else None)
        if record is None or len(times) != 1:
            return self._scene.at(times)
        with self._lock:
            return self._replayed(times, record)

    def _replayed(self, times: Float[Tensor, " 1"], record: Callable[[Sequence[Part]], list[Part]]) -> Gaussians:
        tensors = itertools.chain(self._scene.parameters(), self._scene.buffers())
        key = [(tensor.data_ptr(), tensor.shape, tensor.device) for tensor in tensors]
        if key != self._key:
            self._key, self._replay = key, None
            return self._scene.at(times)
        if self._replay is None:
            self._times = times.clone()
            (self._replay,) = record((self._evaluate,))
        self._times.copy_(times)
        self._replay()
        # Copies, as the next time is written to the same tensors.
        return Gaussians(**{field.name: getattr(self._moved, field.name).clone() for field in fields(Gaussians)})

    def _evaluate(self) -> None:
        self._moved = self._scene.at(self._times)
