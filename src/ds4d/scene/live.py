"""A fitted scene that is evaluated at one time after another, as players do."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from threading import Lock

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
        scene: the scene; where one of its parameters or buffers is replaced, the graph is recorded again.
        record: makes replays of functions; by default CUDA graphs for a scene on a GPU, else there are none.
    """

    def __init__(self, scene: DynamicGaussians, record: Callable[[Sequence[Part]], list[Part]] | None = None) -> None:
        self._scene = scene
        self._record = record or (record_graphs if scene.device.type == "cuda" else None)
        self._read: list[Tensor] = []
        self._replay: Part | None = None
        self._lock = Lock()  # of the tensors that a replay reads and writes

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
        if self._record is None or len(times) != 1:
            return self._scene.at(times)
        with self._lock:
            return self._replayed(times, self._record)

    def _replayed(self, times: Float[Tensor, " 1"], record: Callable[[Sequence[Part]], list[Part]]) -> Gaussians:
        read = [*self._scene.parameters(), *self._scene.buffers()]
        if len(read) != len(self._read) or any(one is not other for one, other in zip(read, self._read, strict=True)):
            self._read, self._replay = read, None
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
