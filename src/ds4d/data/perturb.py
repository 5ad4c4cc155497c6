"""Perturbed views: exact views with the errors of a view generator, for experiments with known truth.

Generated views disagree with each other, and their truth is unknown; where it is known, the views agree. Here exact
views are warped, tinted and blurred, each differently: a static part, as a generator makes the same error in every
frame, and a part that drifts slowly, as errors do under temporal conditioning. The input view is unchanged.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from ds4d.core import check_ranges
from ds4d.types import Frames, MultiViewVideo

_WAVES = 32  # per random field
_HEIGHT = 256  # of the image in whose pixels lengths are stated
_GRID = 8  # spacing of the grid on which warps are computed, in such pixels


@dataclass(frozen=True)
class PerturbationConfig:
    """Strength of the perturbations; lengths are pixels of an image 256 high, strengths are root mean squares.

    Attributes:
        warp_static: displacement along each axis that is constant in time.
        warp_drift: displacement along each axis that changes over time.
        warp_correlation: correlation length of the displacements in the image.
        drift_correlation: correlation length of all that changes over time, as a fraction of the duration.
        tint_static: logarithm of the factor of each color channel, constant part.
        tint_drift: logarithm of the factor of each color channel, changing part.
        blur: largest standard deviation of the blur of a view; those of the views are uniform in [0, blur].
        view_weight: loss weight of the perturbed views.
    """

    warp_static: float = 2.0
    warp_drift: float = 1.0
    warp_correlation: float = 48.0
    drift_correlation: float = 0.25
    tint_static: float = 0.03
    tint_drift: float = 0.01
    blur: float = 1.0
    view_weight: float = 0.5

    def __post_init__(self) -> None:
        sizes = ("warp_static", "warp_drift", "tint_static", "tint_drift", "blur")
        check_ranges(self, **{name: "[0, inf)" for name in sizes})
        check_ranges(self, warp_correlation="(0, inf)", drift_correlation="(0, inf)", view_weight="(0, 1]")


def perturb_views(video: MultiViewVideo, config: PerturbationConfig, seed: int) -> MultiViewVideo:
    """A video with all views perturbed but the input view, and with their loss weight.

    Args:
        video: video with exact views.
        config: strength of the perturbations.
        seed: random seed; the images do not depend on the order in which they are read.
    """
    weights = torch.full_like(video.view_weights, config.view_weight)
    weights[0] = video.view_weights[0]
    frames = PerturbedFrames(video.frames, video.times, config, seed)
    return replace(video, frames=frames, view_weights=weights)


class PerturbedFrames:
    """`Frames` with all views perturbed but view 0.

    Args:
        frames: exact images.
        times: times of the frames, in [0, 1].
        config: strength of the perturbations.
        seed: random seed.
    """

    def __init__(self, frames: Frames, times: Float[Tensor, " T"], config: PerturbationConfig, seed: int) -> None:
        self.num_times, self.num_views = frames.num_times, frames.num_views
        self.width, self.height = frames.width, frames.height
        self._frames, self._times = frames, times
        self._pixel = frames.height / _HEIGHT
        self._views = [_ViewErrors(config, view, seed) for view in range(frames.num_views)]

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha."""
        truth = self._frames.read(time, view)
        if view == 0:
            return truth
        errors, t = self._views[view], float(self._times[time])
        rgba = torch.from_numpy(_blurred(truth, errors.blur * self._pixel)).permute(2, 0, 1)[None]
        shifts = errors.warp(self.width, self.height, self._pixel, t)
        rgba = _warped(rgba, shifts * self._pixel)
        rgba[:, :3] *= errors.tint(t)[:, None, None]
        rgba[:, :3] = torch.minimum(rgba[:, :3], rgba[:, 3:])  # premultiplied: no brighter than its coverage
        return rgba[0].permute(1, 2, 0).round().byte().numpy()


class _ViewErrors:
    """The errors of one view, as random functions of position and time."""

    def __init__(self, config: PerturbationConfig, view: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(1_000_003 * seed + view)
        constant = (config.warp_correlation, config.warp_correlation, torch.inf)
        drifting = (config.warp_correlation, config.warp_correlation, config.drift_correlation)
        self._warps = [
            _RandomField(2, config.warp_static, constant, generator),
            _RandomField(2, config.warp_drift, drifting, generator),
        ]
        self._tint = config.tint_static * torch.randn(3, generator=generator)
        self._tint_drift = _RandomField(
            3, config.tint_drift, (torch.inf, torch.inf, config.drift_correlation), generator
        )
        self.blur = config.blur * float(torch.rand((), generator=generator))

    def warp(self, width: int, height: int, pixel: float, time: float) -> Float[Tensor, "2 H W"]:
        """Displacements (x, y) in pixels of an image 256 high; smooth, so interpolated from a coarse grid."""
        x = torch.linspace(0, width / pixel, 1 + round(width / pixel / _GRID))
        y = torch.linspace(0, height / pixel, 1 + round(height / pixel / _GRID))
        positions = torch.stack((*torch.meshgrid(x, y, indexing="xy"), torch.full((len(y), len(x)), time)))
        static, drift = (field(positions) for field in self._warps)
        return interpolate((static + drift)[None], (height, width), mode="bicubic", align_corners=True)[0]

    def tint(self, time: float) -> Float[Tensor, " 3"]:
        """Factor of each color channel."""
        drift = self._tint_drift(torch.tensor([0.0, 0.0, time])[:, None])[:, 0]
        return (self._tint + drift).exp()


class _RandomField:
    """A smooth random function of (x, y, time): a sum of random waves with Gaussian correlation."""

    def __init__(
        self, outputs: int, size: float, lengths: tuple[float, float, float], generator: torch.Generator
    ) -> None:
        normal = torch.randn(outputs, _WAVES, 3, generator=generator)
        self._frequencies = normal / torch.tensor(
            lengths
        )  # radians; constant along an axis of infinite correlation length
        self._phases = 2 * torch.pi * torch.rand(outputs, _WAVES, generator=generator)
        self._size = size

    def __call__(self, positions: Float[Tensor, "3 *batch"]) -> Float[Tensor, "outputs *batch"]:
        angles = torch.einsum("owd,d...->ow...", self._frequencies, positions)
        phases = self._phases.reshape(*self._phases.shape, *[1] * (positions.ndim - 1))
        return self._size * (2 / _WAVES) ** 0.5 * torch.cos(angles + phases).sum(1)


def _warped(images: Float[Tensor, "1 4 H W"], shifts: Float[Tensor, "2 H W"]) -> Float[Tensor, "1 4 H W"]:
    """The images, sampled at shifted positions (x, y in pixels)."""
    height, width = images.shape[-2:]
    x = (torch.arange(width) + 0.5 + shifts[0]) * (2 / width) - 1
    y = (torch.arange(height)[:, None] + 0.5 + shifts[1]) * (2 / height) - 1
    return grid_sample(images, torch.stack((x, y), -1)[None], padding_mode="border", align_corners=False)


def _blurred(rgba: UInt8[np.ndarray, "H W 4"], sigma: float) -> Float[np.ndarray, "H W 4"]:
    """The image under a Gaussian blur of standard deviation sigma, pixels; borders are replicated."""
    rgba = rgba.astype(np.float32)
    if sigma < 0.1:  # too small to be visible
        return rgba
    radius = max(1, round(3 * sigma))
    return gaussian_filter(rgba, (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0))
