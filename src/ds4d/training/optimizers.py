"""Adam with one learning rate per kind of parameter; its moments follow the Gaussians through densification."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ds4d.core import check_ranges
from ds4d.losses import ViewCorrection
from ds4d.scene import DynamicGaussians, Resampling


@dataclass(frozen=True)
class LearningRate:
    """A learning rate that decays exponentially over the dynamic stage; in the static stage it is constant.

    Attributes:
        start: learning rate in the static stage and at the start of the dynamic stage.
        end_factor: ratio of the learning rate at the end of training to `start`.
    """

    start: float
    end_factor: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, start="[0, inf)", end_factor="(0, inf)")

    def at(self, progress: float) -> float:
        """The learning rate at a progress of the dynamic stage in [0, 1]."""
        return self.start * self.end_factor ** min(1.0, max(0.0, progress))


@dataclass(frozen=True)
class OptimizerConfig:
    """Learning rates of Adam by kind of parameter.

    Attributes:
        means: learning rate of the centers, in normalized space (object radius 0.5).
        quats: learning rate of the rotations.
        log_scales: learning rate of the log scales.
        opacity_logits: learning rate of the opacity logits.
        sh0: learning rate of the spherical harmonics of degree 0.
        shN: learning rate of the spherical harmonics of higher degrees.
        planes: learning rate of the HexPlane.
        mlp: learning rate of the deformation network (trunk, heads and gate).
        fusion: learning rate of the feature fusion (TSSF).
        view_correction: learning rate of the warps (half image sizes) and log color gains of the view correction.
    """

    means: LearningRate = LearningRate(1e-3, 0.05)
    quats: LearningRate = LearningRate(2e-3)
    log_scales: LearningRate = LearningRate(5e-3)
    opacity_logits: LearningRate = LearningRate(3e-2)
    sh0: LearningRate = LearningRate(5e-3)
    shN: LearningRate = LearningRate(2.5e-4)
    planes: LearningRate = LearningRate(1e-2, 0.1)
    mlp: LearningRate = LearningRate(1e-3, 0.1)
    fusion: LearningRate = LearningRate(1e-3, 0.1)
    view_correction: LearningRate = LearningRate(1e-3, 0.1)


class SceneOptimizer:
    """Adam over the parameters of a scene and of the view correction, if any, in named groups.

    Args:
        scene: scene to be trained.
        config: learning rates.
        view_correction: view correction to be trained, if any.
        num_fixed: number of Gaussians, the first ones, that stay as they are.
    """

    def __init__(
        self,
        scene: DynamicGaussians,
        config: OptimizerConfig,
        view_correction: ViewCorrection | None = None,
        num_fixed: int = 0,
    ) -> None:
        self.scene = scene
        self.config = config
        self.view_correction = view_correction
        self._num_fixed = num_fixed
        groups = [{"params": parameters, "name": name} for name, parameters in _groups(scene, view_correction).items()]
        self.adam = torch.optim.Adam(groups, lr=0.0, eps=1e-15, fused=True)

    def gradients(self) -> list[Tensor]:
        """The gradients of all parameters that have one, in one order."""
        parameters = [parameter for group in self.adam.param_groups for parameter in group["params"]]
        return [parameter.grad for parameter in parameters if parameter.grad is not None]

    def step(self, progress: float) -> None:
        """One update at the learning rates of a progress in [0, 1]; clears the gradients."""
        for group in self.adam.param_groups:
            group["lr"] = getattr(self.config, group["name"]).at(progress)
        for parameter in self.scene.gaussians.parameters() if self._num_fixed else ():
            if parameter.grad is not None:  # without a gradient, Adam leaves a row as it is, bit for bit
                parameter.grad[: self._num_fixed] = 0
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def resample(self, resampling: Resampling) -> None:
        """Replaces the set of Gaussians with their moments; new Gaussians start with zero moments."""
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
                rows[resampling.is_new] = 0
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
        gate = scene.field.gate.parameters() if scene.field.gate is not None else ()
        groups["mlp"] = [*scene.field.trunk.parameters(), *scene.field.heads.parameters(), *gate]
    if scene.motion is not None and scene.motion.tssf is not None:
        groups["fusion"] = list(scene.motion.tssf.parameters())
    if view_correction is not None:
        groups["view_correction"] = list(view_correction.parameters())
    return groups
