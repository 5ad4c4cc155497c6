"""Adam with one learning rate per kind of parameter; its moments follow the Gaussians through densification."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from ds4d.core import check_ranges
from ds4d.losses import ViewCorrection
from ds4d.scene import DynamicGaussians, Resampling

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-15


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
        fusion: learning rate of the feature fusion (TSSF), and of a learned reference (DSFD).
        root: learning rate of the rotation of the whole object, radians from frame to frame.
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
    root: LearningRate = LearningRate(1e-2, 0.1)
    view_correction: LearningRate = LearningRate(1e-3, 0.1)


class SceneOptimizer:
    """Adam over the parameters of a scene and of the view correction, if any, in named groups.

    Args:
        scene: scene to be trained.
        config: learning rates.
        view_correction: view correction to be trained, if any.
        num_fixed: number of Gaussians, the first ones, that stay as they are.

    Attributes:
        groups: parameters by the name of their learning rate.
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
        self.groups = _groups(scene, view_correction)
        self._moments: dict[nn.Parameter, dict[str, Tensor]] = {}

    def gradients(self) -> list[Tensor]:
        """The gradients of all parameters that have one, in one order."""
        return [parameter.grad for group in self.groups.values() for parameter in group if parameter.grad is not None]

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """One update at the learning rates of a progress in [0, 1]; clears the gradients."""
        if self._num_fixed:
            for parameter in self.scene.gaussians.parameters():
                if parameter.grad is not None:  # without a gradient, Adam leaves a row as it is, bit for bit
                    parameter.grad[: self._num_fixed] = 0
        for name, group in self.groups.items():
            trained = [parameter for parameter in group if parameter.grad is not None]
            moments = [self._moments_of(parameter) for parameter in trained]
            # torch's function, not its class: that imports all of torch's compiler, a second or more of each start.
            adam(
                list[Tensor](trained),
                [parameter.grad for parameter in trained if parameter.grad is not None],
                [each["exp_avg"] for each in moments],
                [each["exp_avg_sq"] for each in moments],
                [],
                [each["step"] for each in moments],
                fused=True,
                amsgrad=False,
                beta1=_BETA1,
                beta2=_BETA2,
                lr=getattr(self.config, name).at(progress),
                weight_decay=0.0,
                eps=_EPS,
                maximize=False,
            )
            for parameter in trained:
                parameter.grad = None

    def drop(self, name: str) -> None:
        """Trains the parameters of a group no longer."""
        for parameter in self.groups.pop(name):
            self._moments.pop(parameter, None)

    def resample(self, resampling: Resampling) -> None:
        """Replaces the set of Gaussians with their moments; new Gaussians start with zero moments."""
        before = dict(self.scene.gaussians.named_parameters())
        moments = {name: self._moments.pop(parameter, None) for name, parameter in before.items()}
        self.scene.gaussians.resample(resampling)
        for name, parameter in self.scene.gaussians.named_parameters():
            self.groups[name] = [parameter]
            old = moments[name]
            if old is None:
                continue
            self._moments[parameter] = {"step": old["step"]}
            for moment in ("exp_avg", "exp_avg_sq"):
                rows = old[moment][resampling.sources].clone()
                rows[resampling.is_new] = 0
                self._moments[parameter][moment] = rows

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments by name."""
        return {
            f"{name}.{i}.{key}": value
            for name, group in self.groups.items()
            for i, parameter in enumerate(group)
            for key, value in self._moments.get(parameter, {}).items()
        }

    def load_state_dict(self, stored: dict[str, Tensor]) -> None:
        """Takes over the moments of `state_dict`, for a scene of the same shape."""
        self.groups = _groups(self.scene, self.view_correction)
        self._moments = {}
        for name, group in self.groups.items():
            for i, parameter in enumerate(group):
                prefix = f"{name}.{i}."
                state = {key[len(prefix) :]: value for key, value in stored.items() if key.startswith(prefix)}
                if state:
                    device = parameter.device
                    self._moments[parameter] = {key: value.to(device, copy=True) for key, value in state.items()}

    def _moments_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Number of steps, and running means of gradient and squared gradient, zero before the first step."""
        if parameter not in self._moments:
            self._moments[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self._moments[parameter]


def _groups(scene: DynamicGaussians, view_correction: ViewCorrection | None) -> dict[str, list[nn.Parameter]]:
    groups = {name: [parameter] for name, parameter in scene.gaussians.named_parameters()}
    if scene.field is not None:
        groups["planes"] = list(scene.field.hexplane.parameters())
        gate = scene.field.gate.parameters() if scene.field.gate is not None else ()
        groups["mlp"] = [*scene.field.trunk.parameters(), *scene.field.heads.parameters(), *gate]
    if scene.motion is not None and scene.motion.tssf is not None:
        learned = scene.motion.features.parameters() if scene.motion.features is not None else ()
        groups["fusion"] = [*scene.motion.tssf.parameters(), *learned]
    if scene.motion is not None and scene.motion.root is not None:
        groups["root"] = list(scene.motion.root.parameters())
    if view_correction is not None:
        groups["view_correction"] = list(view_correction.parameters())
    return groups
