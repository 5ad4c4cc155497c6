"""Gaussians as they are optimized and as they are rendered, and renderers."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import sigmoid
from ds4d.types.cameras import Cameras
from ds4d.types.checks import check_shape


@dataclass(frozen=True)
class RawGaussians:
    """Gaussians with unconstrained parameters, as they are optimized, deformed and saved; `activate` constrains them.

    Attributes:
        means: centers, units of normalized space.
        quats: rotations as quaternions wxyz of any length above 0.
        log_scales: logarithms of the standard deviations along the rotated axes.
        opacity_logits: logits of the opacities.
        sh: spherical harmonics of the color, K = (degree + 1)^2, with or without a time axis.
    """

    means: Float[Tensor, "*T N 3"]
    quats: Float[Tensor, "*T N 4"]
    log_scales: Float[Tensor, "*T N 3"]
    opacity_logits: Float[Tensor, "*T N"]
    sh: Float[Tensor, "*S N K 3"]

    def __post_init__(self) -> None:
        _check_gaussians(self, "log_scales", "opacity_logits")

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians N."""
        return self.means.shape[-2]

    def activate(self) -> "Gaussians":
        """The Gaussians as they are rendered: unit quaternions, exp of the scales, sigmoid of the opacities."""
        return Gaussians(
            means=self.means,
            quats=torch.nn.functional.normalize(self.quats, dim=-1),
            scales=self.log_scales.exp(),
            opacities=sigmoid(self.opacity_logits),
            sh=self.sh,
        )

    def to(self, *args: Any) -> "RawGaussians":
        """The same Gaussians on another device or in another dtype (arguments as `Tensor.to`)."""
        return RawGaussians(**{name: getattr(self, name).to(*args) for name in self.__dataclass_fields__})

    def expand_times(self, count: int) -> "RawGaussians":
        """The same Gaussians at `count` times, without copying; needs Gaussians without a time axis."""
        names = ("means", "quats", "log_scales", "opacity_logits")
        parts = {name: getattr(self, name).expand(count, *getattr(self, name).shape) for name in names}
        return RawGaussians(**parts, sh=self.sh)

    def at_time(self, index: int) -> "RawGaussians":
        """The Gaussians of one time; needs a time axis."""
        names = ("means", "quats", "log_scales", "opacity_logits")
        parts = {name: getattr(self, name)[index] for name in names}
        return RawGaussians(**parts, sh=self.sh[index] if self.sh.ndim == 4 else self.sh)


@dataclass(frozen=True)
class Gaussians:
    """Gaussians as they are rendered.

    Attributes:
        means: centers.
        quats: rotations as unit quaternions wxyz.
        scales: standard deviations along the rotated axes, above 0, in the units of `means`.
        opacities: opacities in [0, 1].
        sh: spherical harmonics of the color, evaluated per camera by the renderer (color = SH + 0.5, at least 0).
    """

    means: Float[Tensor, "*T N 3"]
    quats: Float[Tensor, "*T N 4"]
    scales: Float[Tensor, "*T N 3"]
    opacities: Float[Tensor, "*T N"]
    sh: Float[Tensor, "*S N K 3"]

    def __post_init__(self) -> None:
        _check_gaussians(self, "scales", "opacities")

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians N."""
        return self.means.shape[-2]

    def to(self, *args: Any) -> "Gaussians":
        """The same Gaussians on another device or in another dtype (arguments as `Tensor.to`)."""
        return Gaussians(**{name: getattr(self, name).to(*args) for name in self.__dataclass_fields__})


def _check_gaussians(gaussians: RawGaussians | Gaussians, scales: str, opacities: str) -> None:
    owner = type(gaussians).__name__
    check_shape(owner, "means", gaussians.means, (None, 3))
    lead = tuple(gaussians.means.shape[:-1])
    for name, tail in (("quats", (4,)), (scales, (3,)), (opacities, ())):
        tensor = getattr(gaussians, name)
        if tuple(tensor.shape) != lead + tail:
            raise ValueError(f"{owner}: {name} must have shape {list(lead + tail)}, got {list(tensor.shape)}.")
    count = gaussians.means.shape[-2]
    check_shape(owner, "sh", gaussians.sh, (count, None, 3))
    if gaussians.sh.ndim > 3 and tuple(gaussians.sh.shape[:-3]) != lead[:-1]:
        raise ValueError(
            f"{owner}: sh must have the leading axes {list(lead[:-1])} of means or none, "
            f"got {list(gaussians.sh.shape)}."
        )


@dataclass(frozen=True)
class Rendering:
    """Rendered images.

    Attributes:
        colors: colors composited over the background; premultiplied colors if there was none.
        alphas: accumulated opacity in [0, 1].
        depths: expected depth along the camera's z axis; 0 where alpha is 0.
        info: intermediate results by gsplat's names: `means2d` [*T, V, N, 2] pixels (its gradient is retained if it
            requires one), `radii` [*T, V, N, 2] pixels as integers (0 = culled), `depths` [*T, V, N].
    """

    colors: Float[Tensor, "*T V 3 H W"]
    alphas: Float[Tensor, "*T V 1 H W"]
    depths: Float[Tensor, "*T V 1 H W"]
    info: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_shape("Rendering", "colors", self.colors, (None, 3, None, None))
        check_shape("Rendering", "alphas", self.alphas, (None, 1, None, None))
        check_shape("Rendering", "depths", self.depths, (None, 1, None, None))


@runtime_checkable
class Renderer(Protocol):
    """3D Gaussian splatting with the semantics of gsplat's `rasterization` in classic mode."""

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, backgrounds: Float[Tensor, "*T V 3"] | None = None
    ) -> Rendering:
        """Renders the Gaussians of each time with the cameras of that time."""
        ...
