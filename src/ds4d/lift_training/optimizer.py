"""The optimizer: Muon for the matrices inside the network, AdamW for everything else."""

from typing import Any

import torch
from torch import nn

from ds4d.multiview.lift.network import LiftNetwork

_BETAS = (0.9, 0.98)  # of AdamW


class MuonAndAdamW:
    """Muon (orthogonalized momentum) on the weights of hidden layers, convolutions as matrices; AdamW on the rest.

    The step of a matrix has the size that AdamW's would have, so that one learning rate serves both.

    Args:
        network: the network to train.
        learning_rate: first learning rate.
        weight_decay: weight decay of everything that has more than one axis.

    Raises:
        ImportError: torch has no Muon.
    """

    def __init__(self, network: LiftNetwork, *, learning_rate: float, weight_decay: float) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ImportError(f"training needs torch 2.9 or newer, for Muon, got {torch.__version__}. Upgrade torch.")
        hidden = [
            parameter
            for name, parameter in network.named_parameters()
            if parameter.ndim > 1 and not name.startswith(("stem.", "out.", "positions"))
        ]
        ids = {id(parameter) for parameter in hidden}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in ids]
        # torch's Muon takes matrices only: these share the memory of the convolutions' weights.
        self._pairs = [(parameter, nn.Parameter(parameter.detach().flatten(1))) for parameter in hidden]
        self._muon = torch.optim.Muon(
            [matrix for _, matrix in self._pairs],
            lr=learning_rate,
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        decayed = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW(decayed, lr=learning_rate, betas=_BETAS, fused=True)

    def set_learning_rate(self, rate: float) -> None:
        """Sets the learning rate of the next steps."""
        for group in (*self._muon.param_groups, *self._adamw.param_groups):
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter, _ in self._pairs:
            parameter.grad = None
        self._adamw.zero_grad()

    def step(self) -> None:
        """One step along the gradients of the network."""
        for parameter, matrix in self._pairs:
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
