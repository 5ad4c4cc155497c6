"""Means of a scene's parameters over the last steps of its training, in which they still move about the best values.

Depth images and the correction of generated views, which a finished scene only reads, stay those of training.

Source: B. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by averaging, 1992.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ds4d.scene import DynamicGaussians

COUNT = "count"  # the name beside those of parameters in a state


class AverageOfLast:
    """Averages the parameters of a scene over steps.

    Args:
        scene: the scene; its parameters may be replaced, after which `forget` starts anew.

    Attributes:
        count: number of steps that the means are of.
    """

    def __init__(self, scene: DynamicGaussians) -> None:
        self._scene = scene
        self.forget()

    def forget(self) -> None:
        """Starts anew, as must be when the scene has other parameters than before."""
        self.count = 0
        self._means: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Takes the present parameters into the means."""
        parameters = self._parameters()
        if not self._means:
            self._means = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        else:
            present = [parameters[name] for name in self._means]
            torch._foreach_lerp_(list(self._means.values()), present, weight=1 / (self.count + 1))
        self.count += 1

    @torch.no_grad()
    def apply(self) -> None:
        """Gives the scene the means, if there are any, and forgets them."""
        for name, parameter in self._parameters().items():
            if name in self._means:
                parameter.copy_(self._means[name])
        self.forget()

    def state_dict(self) -> dict[str, Any]:
        """The means by the names of their parameters, and their count; empty where there are none."""
        return {**self._means, COUNT: self.count} if self._means else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over the means of `state_dict`, which must be of the scene's present parameters."""
        device = self._scene.device
        self._means = {name: mean.to(device, copy=True) for name, mean in state.items() if name != COUNT}
        self.count = state.get(COUNT, 0)

    def _parameters(self) -> dict[str, Tensor]:
        return dict(self._scene.named_parameters())
