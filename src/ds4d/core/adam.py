"""Adam for a few tensors, such as poses."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

_EPS = 1e-8


class Adam:
    """Kingma and Ba's optimizer by torch's function.

    torch's class imports all of torch's compiler when it is made, a second or more of each start.

    Args:
        parameters: tensors that require gradients; changed in place.
        beta1: decay of the mean of the gradients, in [0, 1).
        beta2: decay of the mean of their squares, in [0, 1).
    """

    def __init__(self, parameters: Sequence[Tensor], *, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.parameters = list(parameters)
        self._betas = beta1, beta2
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.tensor(0.0) for _ in self.parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update at a learning rate; clears the gradients, of which every parameter must have one."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        assert len(gradients) == len(self.parameters), "every parameter has a gradient"
        adam(
            self.parameters,
            gradients,
            self._means,
            self._squares,
            [],
            self._steps,
            foreach=False,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=rate,
            weight_decay=0.0,
            eps=_EPS,
            maximize=False,
        )
        for parameter in self.parameters:
            parameter.grad = None
