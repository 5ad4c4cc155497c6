"""Keeping a GPU busy: CUDA graphs over pure tensor functions, and numbers read without waiting.

A step launches some 800 kernels of a few microseconds each, and the processor cannot issue them as fast as a large GPU
finishes them. Everything but the splatter (whose buffers depend on what is drawn) has fixed shapes between two density
events, so it is recorded once and replayed.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from ds4d.losses import LossInputs, Objective, ViewCorrection
from ds4d.scene import Motion


class Replayed(nn.Module):
    """A module run eagerly on the CPU, and as a CUDA graph, forward and backward, on a GPU.

    Args:
        function: tensors in, tuple of tensors out; it must not depend on anything but its arguments and parameters,
            nor make tensors on the CPU.
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function
        self._key: tuple | None = None
        self._graphed: Any = None

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """The function's outputs; the graph is recorded anew whenever a shape changes."""
        if arguments[0].device.type != "cuda":
            return self.function(*arguments)
        key = tuple((tuple(a.shape), a.dtype, a.requires_grad) for a in arguments)
        if key != self._key:
            self._graphed = None  # frees the old graph's memory before the new one takes its own
            samples = tuple(a.detach().clone().requires_grad_(a.requires_grad) for a in arguments)
            # A new callable each time: recording replaces a module's `forward` by the graph.
            recorded = _Callable(self.function)
            with _nothing_collected():
                self._graphed = torch.cuda.make_graphed_callables(recorded, samples, allow_unused_input=True)
            self._key = key
        return cast(tuple[Tensor, ...], self._graphed(*arguments))


@contextmanager
def _nothing_collected() -> Generator[None, None, None]:
    """Python's collector may find an old fit's graphs and memory, and freeing these spoils a recording."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Callable(nn.Module):
    """A fresh shell round a module, so that recording leaves the module itself untouched."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        return self.function(*arguments)


class Readback:
    """Numbers on their way from the device: asked for early and read late, so that nothing waits in between."""

    def __init__(self, values: Tensor) -> None:
        self._values = values.detach()
        self._arrived = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values.detach(), non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def wait(self) -> list[float]:
        """The numbers, once they have arrived; work queued after them goes on."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values.tolist()


class MotionChanges(nn.Module):
    """`Motion.changes` as tensors in, tensors out, in the order of the field's heads."""

    def __init__(self, motion: Motion) -> None:
        super().__init__()
        self.motion = motion

    def forward(self, means: Tensor, times: Tensor, *seen: Tensor) -> tuple[Tensor, ...]:
        """Each head's change [T, N, size]."""
        return tuple(self.motion.changes(means, times, *seen).values())


class ObjectiveValues(nn.Module):
    """An `Objective` as tensors in, tensors out, over images brought to each view's own by an view_correction, if any.

    Arguments are the fields of `LossInputs` in order, the planes last, and before them the images' backgrounds, times
    and views.
    """

    def __init__(self, objective: Objective, view_correction: ViewCorrection | None) -> None:
        super().__init__()
        self.objective = objective
        self.view_correction = view_correction

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """The total, and the terms' own values stacked behind the total's."""
        backgrounds, times, views = arguments[:_IMAGES]
        plain, planes = list(arguments[_IMAGES : _IMAGES + _PLAIN]), arguments[_IMAGES + _PLAIN :]
        if self.view_correction is not None:
            plain[:2] = self.view_correction(plain[0], plain[1], backgrounds, times, views)
        half = len(planes) // 2
        total, values = self.objective(LossInputs(*plain, list(planes[:half]), list(planes[half:])))
        if self.view_correction is not None:
            total = total + self.view_correction.penalty()
        return total, torch.stack([total.detach(), *values.values()])

    @staticmethod
    def arguments(inputs: LossInputs, backgrounds: Tensor, times: Tensor, views: Tensor) -> tuple[Tensor, ...]:
        """What `forward` takes for these inputs."""
        plain = tuple(getattr(inputs, name) for name in list(LossInputs.__dataclass_fields__)[:_PLAIN])
        return (backgrounds, times, views, *plain, *inputs.spatial_planes, *inputs.temporal_planes)


_IMAGES = 3
_PLAIN = len(LossInputs.__dataclass_fields__) - 2
