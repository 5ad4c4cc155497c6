"""Adam with one learning rate per kind of parameter; its moments follow the Gaussians through densification."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from ds4d.core import check_ranges, is_fused
from ds4d.losses import ViewCorrection
from ds4d.scene import DynamicGaussians, Resampling
from ds4d.training.adam_cuda import FusedAdam

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
        self._moments: dict[nn.Parameter, _Moments] = {}
        self._fused = FusedAdam(_BETA1, _BETA2, _EPS)

    def trained(self) -> list[nn.Parameter]:
        """All parameters that are trained, in one order."""
        return [parameter for group in self.groups.values() for parameter in group if parameter.requires_grad]

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
        trained = [
            (parameter, parameter.grad, self._moments_of(parameter), getattr(self.config, name).at(progress))
            for name, group in self.groups.items()
            for parameter in group
            if parameter.grad is not None
        ]
        for _, _, moments, _ in trained:
            moments.step += 1
        if trained and is_fused("adam", trained[0][0]):  # all are of one type and on one device
            parameters, gradients, moments, rates = zip(*trained, strict=True)
            means = [(each.exp_avg, each.exp_avg_sq) for each in moments]
            self._fused.update(parameters, gradients, means, rates, [each.step for each in moments])
        else:
            for rate, updates in itertools.groupby(trained, key=lambda each: each[-1]):
                _update(list(updates), rate)
        for parameter, *_ in trained:
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
            if (old := moments[name]) is not None:
                self._moments[parameter] = old.resampled(resampling)

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments by name."""
        return {
            f"{name}.{i}.{key}": value
            for name, group in self.groups.items()
            for i, parameter in enumerate(group)
            if parameter in self._moments
            for key, value in self._moments[parameter].state_dict().items()
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
                    means = (state[key].to(parameter.device, copy=True) for key in ("exp_avg", "exp_avg_sq"))
                    self._moments[parameter] = _Moments(int(state["step"]), *means)

    def _moments_of(self, parameter: nn.Parameter) -> "_Moments":
        if parameter not in self._moments:
            self._moments[parameter] = _Moments(0, torch.zeros_like(parameter), torch.zeros_like(parameter))
        return self._moments[parameter]


@dataclass
class _Moments:
    """What Adam keeps of a parameter.

    Attributes:
        step: number of updates.
        exp_avg: running mean of the gradient.
        exp_avg_sq: running mean of its square.
    """

    step: int
    exp_avg: Tensor
    exp_avg_sq: Tensor

    def resampled(self, resampling: Resampling) -> "_Moments":
        """Those of the Gaussians that a resampling makes; new ones have means of 0."""
        means = [mean[resampling.sources] for mean in (self.exp_avg, self.exp_avg_sq)]
        for mean in means:
            mean[resampling.is_new] = 0
        return _Moments(self.step, *means)

    def state_dict(self) -> dict[str, Tensor]:
        """All of it as tensors."""
        return {"step": torch.tensor(float(self.step)), "exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}


def _update(trained: list[tuple[nn.Parameter, Tensor, _Moments, float]], rate: float) -> None:
    """One update of parameters that share a learning rate."""
    parameters, gradients, moments, _ = (list(each) for each in zip(*trained, strict=True))
    # One update less, and on the device: that is what torch counts up and reads.
    steps = torch.tensor([float(each.step - 1) for each in moments]).to(parameters[0].device, non_blocking=True)
    # torch's function, not its class: that imports all of torch's compiler, a second or more of each start.
    adam(
        parameters,
        gradients,
        [each.exp_avg for each in moments],
        [each.exp_avg_sq for each in moments],
        [],
        list(steps.unbind()),
        fused=True,
        amsgrad=False,
        beta1=_BETA1,
        beta2=_BETA2,
        lr=rate,
        weight_decay=0.0,
        eps=_EPS,
        maximize=False,
    )


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
