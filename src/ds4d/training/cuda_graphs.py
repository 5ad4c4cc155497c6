"""CUDA graphs of the parts of a step, and results read back without waiting.

A step launches some hundreds of kernels of a few microseconds each, and the CPU cannot issue them as fast as a large
GPU finishes them. Everything but the renderer (whose buffers depend on what is visible), density control and the
optimizer has fixed shapes between two densification events, so it is recorded once, with its derivatives, and replayed.
"""

import gc
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ds4d.core import Part, parts_on, record_graphs
from ds4d.training.step import StepFunctions, StepInputs, StepKind
from ds4d.types import Cameras, Gaussians, Rendering


@runtime_checkable
class Step(Protocol):
    """One step around the renderer.

    Attributes:
        gaussians: Gaussians to be rendered.
        cameras: cameras that they are rendered from.
    """

    gaussians: Gaussians
    cameras: Cameras

    def losses(self, rendering: Rendering) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total loss, and each loss before its weight (detached), by name."""
        ...

    def backward(self, total: Float[Tensor, ""]) -> None:
        """Computes the gradients of all parameters; `total` is that of `losses`, possibly with more added."""
        ...


class EagerStep:
    """A step that launches its kernels one by one.

    Args:
        functions: what the step computes.
        kind: kind of the step.
        inputs: what it is given.
    """

    def __init__(self, functions: StepFunctions, kind: StepKind, inputs: StepInputs) -> None:
        self._functions, self._kind, self._inputs = functions, kind, inputs
        self.gaussians = functions.gaussians(kind, inputs)
        self.cameras = functions.cameras(kind, inputs)

    def losses(self, rendering: Rendering) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Step`."""
        images = rendering.colors, rendering.alphas
        return self._functions.losses(self._kind, self._inputs, *images, self.gaussians.means)

    def backward(self, total: Float[Tensor, ""]) -> None:
        """See `Step`."""
        total.backward()


_GAUSSIANS = [field.name for field in fields(Gaussians)]


class RecordedStep:
    """A step whose parts before and after the renderer are replayed, each with its derivatives.

    Args:
        functions: what the step computes.
        kind: kind of the steps.
        inputs: what one of them is given; later ones must be of the same shapes.
        parameters: parameters whose gradients are computed; none may be replaced as long as this is used.
        record: makes replays of functions.
    """

    def __init__(
        self,
        functions: StepFunctions,
        kind: StepKind,
        inputs: StepInputs,
        parameters: Sequence[nn.Parameter],
        record: Callable[[Sequence[Part]], list[Part]] = record_graphs,
    ) -> None:
        self._functions, self._kind, self._parameters = functions, kind, list(parameters)
        self._inputs = inputs.copied()
        lead = inputs.batch.views.shape
        size = kind.height, kind.width
        images = {"colors": (*lead, 3, *size), "alphas": (*lead, 1, *size)}
        device = inputs.batch.views.device
        self._images = {name: torch.zeros(shape, device=device, requires_grad=True) for name, shape in images.items()}
        self._deform, self._score, self._differentiate = record(
            (self._record_gaussians, self._record_losses, self._record_gradients)
        )

    def begin(self, inputs: StepInputs) -> "RecordedStep":
        """The step for these inputs; the one before is over."""
        self._inputs.copy_(inputs)
        self._deform()
        moved = {name: getattr(self._moved, name) for name in _GAUSSIANS}
        self.gaussians = Gaussians(
            **{name: each.detach().requires_grad_(each.requires_grad) for name, each in moved.items()}
        )
        return self

    def losses(self, rendering: Rendering) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Step`; the numbers are overwritten by the next step."""
        self._rendered = {"colors": rendering.colors, "alphas": rendering.alphas}
        with torch.no_grad():
            for name, image in self._rendered.items():
                self._images[name].copy_(image)
        self._score()
        return self._total, self._values

    def backward(self, total: Float[Tensor, ""]) -> None:
        """See `Step`.

        Raises:
            ValueError: something was added to the total, whose gradients are recorded.
        """
        if total is not self._total:
            raise ValueError("backward: total must be that of losses, got another one. Take an EagerStep.")
        of_images = {name: self._of_images[name] for name, image in self._rendered.items() if image.requires_grad}
        if of_images:
            _number_with_gradients({self._rendered[name]: given for name, given in of_images.items()}).backward()
        for name, given in self._of_gaussians.items():
            found = getattr(self.gaussians, name).grad
            given.zero_() if found is None else given.copy_(found)
        self._differentiate()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def _record_gaussians(self) -> None:
        self._moved = self._functions.gaussians(self._kind, self._inputs)
        self.cameras = self._functions.cameras(self._kind, self._inputs)
        moved = {name: getattr(self._moved, name) for name in _GAUSSIANS}
        self._of_gaussians = {name: torch.empty_like(each) for name, each in moved.items() if each.requires_grad}

    def _record_losses(self) -> None:
        means = self._moved.means.detach().requires_grad_()
        total, self._values = self._functions.losses(self._kind, self._inputs, **self._images, means=means)
        self._total = total.detach()
        inputs = [*self._images.values(), means, *self._parameters]
        of_colors, of_alphas, self._of_means, *self._of_losses = torch.autograd.grad(total, inputs, allow_unused=True)
        found = {"colors": of_colors, "alphas": of_alphas}
        self._of_images = {
            name: torch.zeros_like(self._images[name]) if each is None else each for name, each in found.items()
        }

    def _record_gradients(self) -> None:
        given = dict(self._of_gaussians)
        if self._of_means is not None and "means" in given:
            given["means"] = given["means"] + self._of_means
        found: Sequence[Tensor | None] = [None] * len(self._parameters)
        if given:
            number = _number_with_gradients({getattr(self._moved, name): each for name, each in given.items()})
            found = torch.autograd.grad(number, self._parameters, allow_unused=True)
        about = zip(self._parameters, found, self._of_losses, strict=True)
        self._gradients = [_gradient(*each) for each in about]


class Recordings:
    """Takes steps by a recording where there is one, and makes recordings where they can be made.

    The first step of a kind is taken eagerly, which loads its kernels; the second one is recorded. By then the first
    must be gone: its graph would tie the parameters' gradients to a stream that is not the recorded one.

    Args:
        functions: what the steps compute.
        is_on: whether steps are recorded.
        record: makes replays of functions.
    """

    def __init__(
        self,
        functions: StepFunctions,
        is_on: bool,
        record: Callable[[Sequence[Part]], list[Part]] = record_graphs,
    ) -> None:
        self.is_on = is_on
        self._functions, self._record = functions, record
        self._key: tuple | None = None
        self._recorded: RecordedStep | None = None

    @property
    def has_recorded(self) -> bool:
        """Whether there is a recording, by which steps of its kind are taken."""
        return self._recorded is not None

    def step(self, kind: StepKind, inputs: StepInputs, parameters: Sequence[nn.Parameter]) -> Step:
        """The step for these inputs, which computes the gradients of these parameters."""
        key = kind, inputs.shapes(), parts_on(), tuple(map(id, parameters))
        if not self.is_on or key != self._key:
            self.forget()
            self._key = key
            return EagerStep(self._functions, kind, inputs)
        if self._recorded is None:
            self._recorded = RecordedStep(self._functions, kind, inputs, parameters, self._record)
        return self._recorded.begin(inputs)

    def forget(self) -> None:
        """Drops the recording; to be called when a tensor that it reads is replaced, or what it computes changes."""
        self._key = self._recorded = None


def _number_with_gradients(given: dict[Tensor, Tensor]) -> Float[Tensor, ""]:
    """A number whose gradients with respect to tensors are given.

    torch's own argument for that, `grad_tensors`, imports all of sympy, two seconds of each process.
    """
    return _NumberWithGradients.apply(len(given), *given, *given.values())


class _NumberWithGradients(torch.autograd.Function):
    """See `_number_with_gradients`."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[count:])
        return tensors[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.saved_tensors, *([None] * len(ctx.saved_tensors))


def _gradient(parameter: nn.Parameter, first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The sum of two gradients, of which None is 0, in the parameter's layout, as optimizers take it."""
    found = first + second if first is not None and second is not None else second if first is None else first
    if found is None or found.stride() == parameter.stride():
        return found
    return torch.empty_like(parameter).copy_(found)


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
