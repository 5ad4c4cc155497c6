"""CUDA graphs over functions of named tensors, and results read back without waiting.

A step launches some 800 kernels of a few microseconds each, and the CPU cannot issue them as fast as a large GPU
finishes them. Everything but the renderer (whose buffers depend on what is visible) has fixed shapes between two
densification events, so it is recorded once and replayed.
"""

import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from ds4d.core import parts_on

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")


class CUDAGraphed(Generic[Inputs, Result]):
    """A function run eagerly on the CPU, and as a CUDA graph, forward and backward, on a GPU.

    Arguments and result are tensors, or dataclasses, dicts, lists and tuples of them, or None. A graph takes a flat
    tuple of tensors; they are flattened and rebuilt here by their names.

    Args:
        function: pure function of its arguments and the parameters; it must not create tensors on the CPU.
        module: module whose parameters the function uses, or None.
    """

    def __init__(self, function: Callable[Inputs, Result], module: nn.Module | None) -> None:
        self._function = function
        self._module = module
        self._key: tuple | None = None
        self._recorded: _Recorded | None = None

    def __call__(self, *arguments: Inputs.args, **options: Inputs.kwargs) -> Result:
        """The function's result; the graph is recorded again whenever a name, a shape or a parameter changes."""
        tensors = _flatten(arguments)
        if options or not all(tensor.is_cuda for tensor in tensors.values()):
            return self._function(*arguments, **options)
        key = (parts_on(), *((name, *_kind(tensor)) for name, tensor in tensors.items()))
        if self._recorded is None or key != self._key:
            self._recorded = None  # frees the old graph before the new one takes memory
            self._recorded = self._record(arguments, tensors)
            self._key = key
        outputs = self._recorded(*tensors.values())
        return _rebuild(self._recorded.result, dict(zip(_flatten(self._recorded.result), outputs, strict=True)))

    def _record(self, arguments: tuple, tensors: dict[str, Tensor]) -> "_Recorded":
        # The first recording lets libraries choose and load their kernels; later ones differ from it in shapes alone.
        warmups = 3 if self._key is None else 1
        samples = {name: _sample(tensor).requires_grad_(tensor.requires_grad) for name, tensor in tensors.items()}
        recorded = _Recorded(self._function, self._module, _rebuild(arguments, samples))
        with _garbage_collection_off():
            torch.cuda.make_graphed_callables(
                recorded, tuple(samples.values()), num_warmup_iters=warmups, allow_unused_input=True
            )
        return recorded


class _Recorded(nn.Module):
    """A function as CUDA graphs record it: a flat tuple of tensors in, a flat tuple of tensors out.

    Recording replaces `forward` by the graph, so each recording needs a module of its own.

    Args:
        function: function to be recorded.
        module: module whose parameters the function uses, or None.
        arguments: sample arguments, which give the structure of the arguments.
    """

    def __init__(self, function: Callable, module: nn.Module | None, arguments: tuple) -> None:
        super().__init__()
        self.module = module
        self.result: Any = None
        self._function = function
        self._arguments = arguments

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(_flatten(self._arguments), tensors, strict=True))
        result = self._function(*_rebuild(self._arguments, named))
        outputs = _flatten(result)
        self.result = _rebuild(result, {name: tensor.detach() for name, tensor in outputs.items()})
        return tuple(outputs.values())


def _kind(tensor: Tensor) -> tuple:
    """What a graph is recorded for; of a parameter also where it is, because the graph reads it there."""
    place = tensor.data_ptr() if isinstance(tensor, nn.Parameter) else None
    return tensor.shape, tensor.dtype, tensor.requires_grad, place


def _sample(tensor: Tensor) -> Tensor:
    """Where a graph reads an argument: a copy, into which each call copies its own; a parameter where it is."""
    return tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.detach().clone()


def _flatten(value: Any, path: str = "") -> dict[str, Tensor]:
    """The tensors within a value, by the path of names to them."""
    if isinstance(value, Tensor):
        return {path: value}
    found = {}
    for name, part in _parts(value).items():
        found |= _flatten(part, f"{path}.{name}")
    return found


def _rebuild(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """The value with its tensors replaced by those of the same path."""
    if isinstance(value, Tensor):
        return tensors[path]
    parts = {name: _rebuild(part, tensors, f"{path}.{name}") for name, part in _parts(value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **parts)
    if isinstance(value, dict):
        return parts
    return value if value is None else type(value)(parts.values())


def _parts(value: Any) -> dict[Any, Any]:
    """What a dataclass, dict, list or tuple consists of, by name; nothing for None."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        return value
    return {} if value is None else dict(enumerate(value))


@contextmanager
def _garbage_collection_off() -> Generator[None, None, None]:
    """Keeps Python's collector from freeing graphs of an earlier training, which would spoil a recording."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def quick_collections(device: torch.device) -> Generator[None, None, None]:
    """Within the block Python's collector passes over all that there was before it.

    Recording a graph collects, or graphs that were replaced would keep their memory, and some twenty are recorded in a
    fit: each time, looking through the objects of all imported packages would take a good part of a second.

    Args:
        device: device of the fit; without graphs, on the CPU, nothing is changed.
    """
    if device.type != "cuda":
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Readback:
    """Numbers on their way from the device: requested early and read late, so that nothing waits in between."""

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
