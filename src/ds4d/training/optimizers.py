"""Adam with one rate per kind of parameter, whose moments follow the Gaussians through density control."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ds4d.core import check_ranges
from ds4d.losses import ViewCorrection
from ds4d.scene import DynamicGaussians, Resampling


@dataclass(frozen=True)
class Rate:
    """A learning rate that falls log-linearly over the dynamic stage; in the static stage it stays at its start.

    Attributes:
        start: the rate at the start.
        end_factor: the rate at the end of the fit, in units of `start`.
    """

    start: float
    end_factor: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, start="[0, inf)", end_factor="(0, inf)")

    def at(self, progress: float) -> float:
        """The rate at `progress` in [0, 1]."""
        return self.start * self.end_factor ** min(1.0, max(0.0, progress))


@dataclass(frozen=True)
class OptimizerConfig:
    """Learning rates by kind of parameter; lengths are inner units (the object has radius 0.5).

    Attributes:
        means: of the centers.
        quats: of the rotations.
        log_scales: of the sizes.
        opacity_logits: of the opacities.
        sh0: of the plain color.
        shN: of the view-dependent color.
        planes: of the HexPlane.
        mlp: of trunk and heads.
        fusion: of the features' linear map and the fusion rule.
        view_correction: of the generated views' warps (half images) and color gains.
    """

    means: Rate = Rate(1e-3, 0.05)
    quats: Rate = Rate(2e-3)
    log_scales: Rate = Rate(5e-3)
    opacity_logits: Rate = Rate(3e-2)
    sh0: Rate = Rate(5e-3)
    shN: Rate = Rate(2.5e-4)
    planes: Rate = Rate(1e-2, 0.1)
    mlp: Rate = Rate(1e-3, 0.1)
    fusion: Rate = Rate(1e-3, 0.1)
    view_correction: Rate = Rate(1e-3, 0.1)


class SceneOptimizer:
    """Adam over a scene's parameters, and those of the views' view_correction if there is one, in named groups."""

    def __init__(
        self, scene: DynamicGaussians, config: OptimizerConfig, view_correction: ViewCorrection | None = None
    ) -> None:
        self.scene = scene
        self.config = config
        self.view_correction = view_correction
        groups = [{"params": parameters, "name": name} for name, parameters in _groups(scene, view_correction).items()]
        self.adam = torch.optim.Adam(groups, lr=0.0, eps=1e-15, fused=True)

    def step(self, progress: float) -> None:
        """One update at the rates of `progress`, then forgets the gradients."""
        for group in self.adam.param_groups:
            group["lr"] = getattr(self.config, group["name"]).at(progress)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def resample(self, resampling: Resampling) -> None:
        """Changes the set of Gaussians and takes each one's moments along; new Gaussians start with none."""
        before = dict(self.scene.gaussians.named_parameters())
        states = {name: self.adam.state.pop(parameter, {}) for name, parameter in before.items()}
        self.scene.gaussians.resample(resampling)
        self._adopt(states, resampling)

    def _adopt(self, states: dict[str, dict[str, Tensor]], resampling: Resampling) -> None:
        groups = {group["name"]: group for group in self.adam.param_groups}
        for name, parameter in self.scene.gaussians.named_parameters():
            groups[name]["params"] = [parameter]
            if not states[name]:
                continue
            state = {"step": states[name]["step"]}
            for moment in ("exp_avg", "exp_avg_sq"):
                rows = states[name][moment][resampling.sources].clone()
                rows[resampling.fresh] = 0
                state[moment] = rows
            self.adam.state[parameter] = state

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments by name."""
        stored = {}
        for group in self.adam.param_groups:
            for i, parameter in enumerate(group["params"]):
                for key, value in self.adam.state.get(parameter, {}).items():
                    stored[f"{group['name']}.{i}.{key}"] = value
        return stored

    def load_state_dict(self, stored: dict[str, Tensor]) -> None:
        """Takes over the moments of `state_dict`, for a scene of the same shape."""
        groups = _groups(self.scene, self.view_correction)
        for group in self.adam.param_groups:
            group["params"] = groups[group["name"]]
            for i, parameter in enumerate(group["params"]):
                prefix = f"{group['name']}.{i}."
                state = {name[len(prefix) :]: value for name, value in stored.items() if name.startswith(prefix)}
                if state:
                    device = parameter.device
                    self.adam.state[parameter] = {name: value.to(device, copy=True) for name, value in state.items()}


def _groups(scene: DynamicGaussians, view_correction: ViewCorrection | None) -> dict[str, list[nn.Parameter]]:
    groups = {name: [parameter] for name, parameter in scene.gaussians.named_parameters()}
    if scene.field is not None:
        groups["planes"] = list(scene.field.hexplane.parameters())
        groups["mlp"] = [*scene.field.trunk.parameters(), *scene.field.heads.parameters()]
    if scene.motion is not None and scene.motion.tssf is not None:
        groups["fusion"] = list(scene.motion.tssf.parameters())
    if view_correction is not None:
        groups["view_correction"] = list(view_correction.parameters())
    return groups
