"""Adam on a GPU: one kernel for all parameters, whatever their learning rates.

torch's fused Adam takes one learning rate a call and gives each multiprocessor 65,536 values, so that it keeps a large
GPU waiting once for every group of parameters.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_VALUES = 1024  # of a program


class FusedAdam:
    """Updates of many tensors at once, as `torch.optim.Adam` does them.

    Args:
        beta1: decay of the mean of gradients.
        beta2: decay of the mean of squared gradients.
        eps: added to the root of the latter.
    """

    def __init__(self, beta1: float, beta2: float, eps: float) -> None:
        self._betas, self._eps = (beta1, beta2), eps
        self._key: list[int] = []
        self._table: tuple[Tensor, ...] = ()

    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        moments: Sequence[tuple[Tensor, Tensor]],
        rates: Sequence[float],
        steps: Sequence[int],
    ) -> None:
        """One update in place.

        Args:
            parameters: contiguous tensors of float32 on one device.
            gradients: gradient of each.
            moments: of each the means of its gradients and of their squares.
            rates: learning rate of each.
            steps: number of the update for each, from 1 on.
        """
        from ds4d.training.adam_cuda_kernel import update

        if not parameters:
            return
        tensors = [tensor for parts in zip(parameters, moments, strict=True) for tensor in (parts[0], *parts[1])]
        places = [tensor.data_ptr() for tensor in tensors]
        if places != self._key:
            self._key, self._table = places, _table(places, parameters)
        contiguous = [gradient.contiguous() for gradient in gradients]
        counts = np.array(steps, np.float64)
        now = np.empty((len(parameters), 2), np.int64)
        now[:, 0] = [gradient.data_ptr() for gradient in contiguous]
        now.view(np.float32)[:, 2] = np.array(rates) / (1 - self._betas[0] ** counts)
        now.view(np.float32)[:, 3] = np.sqrt(1 - self._betas[1] ** counts)
        there = _on_device(torch.from_numpy(now), parameters[0].device)
        owners = self._table[2]
        numbers = (*self._betas, *(1 - beta for beta in self._betas), self._eps)
        update[(len(owners),)](*self._table, there, there.view(torch.float32), *numbers, BLOCK=_VALUES)


def _table(places: list[int], parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Addresses and sizes of the tensors, and of which parameter, from which value on, each program's values are."""
    sizes = [parameter.numel() for parameter in parameters]
    blocks = [np.arange(0, size, _VALUES) for size in sizes]
    owners = np.repeat(np.arange(len(sizes)), [len(starts) for starts in blocks])
    arrays = (places, sizes, owners, np.concatenate(blocks))
    return tuple(torch.tensor(array, dtype=torch.int64, device=parameters[0].device) for array in arrays)


def _on_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy that the host does not wait for."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
