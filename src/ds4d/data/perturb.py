"""The pseudo multi-view protocol: views of known truth, spoilt as a view generator would spoil them.

Generated views disagree with each other, and where they are all that there is, nobody knows the truth. Where the truth
is known, the views agree. Here exact views are warped, tinted and blurred, each in its own way: a part that stays, as a
generator errs on the same side in every frame, and a part that drifts slowly, as its errors do under a temporal anchor.
The front view, the real video, stays as it is.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, interpolate, pad

from ds4d.core import check_ranges
from ds4d.types import Frames, MultiViewVideo

_WAVES = 32  # of each random field
_HEIGHT = 256  # pixels of the image that lengths are stated for
_GRID = 8  # of these pixels between places where a warp is computed


@dataclass(frozen=True)
class PerturbationConfig:
    """How far views differ from the truth; lengths are pixels of an image 256 high, sizes root mean squares.

    Attributes:
        warp_fixed: displacement along each axis that stays over the clip.
        warp_drift: displacement along each axis that changes over the clip.
        warp_reach: correlation length of the displacements over the image.
        drift_reach: correlation length of all that drifts, as a share of the clip.
        tint_fixed: logarithm of each color's factor, the part that stays.
        tint_drift: logarithm of each color's factor, the part that changes.
        blur: largest standard deviation of a view's blur, which stays; views have from none to all of it.
        confidence: weight of the perturbed views in a fit, as generated views have.
    """

    warp_fixed: float = 2.0
    warp_drift: float = 1.0
    warp_reach: float = 48.0
    drift_reach: float = 0.25
    tint_fixed: float = 0.03
    tint_drift: float = 0.01
    blur: float = 1.0
    confidence: float = 0.5

    def __post_init__(self) -> None:
        sizes = ("warp_fixed", "warp_drift", "tint_fixed", "tint_drift", "blur")
        check_ranges(self, **{name: "[0, inf)" for name in sizes})
        check_ranges(self, warp_reach="(0, inf)", drift_reach="(0, inf)", confidence="(0, 1]")


def perturb_views(video: MultiViewVideo, config: PerturbationConfig, seed: int) -> MultiViewVideo:
    """The clip with every view but the front perturbed, and trusted accordingly.

    Args:
        video: whose views agree.
        config: how far they shall differ.
        seed: of the differences; equal seeds give equal images, whatever is read first.
    """
    weights = torch.full_like(video.view_weights, config.confidence)
    weights[0] = video.view_weights[0]
    frames = PerturbedFrames(video.frames, video.times, config, seed)
    return replace(video, frames=frames, view_weights=weights)


class PerturbedFrames:
    """The `Frames` of a clip, view 0 as it is, the others perturbed.

    Args:
        frames: the truth.
        times: of the frames, in [0, 1].
        config: how far images differ from it.
        seed: of the differences.
    """

    def __init__(self, frames: Frames, times: Float[Tensor, " T"], config: PerturbationConfig, seed: int) -> None:
        self.num_times, self.num_views = frames.num_times, frames.num_views
        self.width, self.height = frames.width, frames.height
        self._frames, self._times = frames, times
        self._pixel = frames.height / _HEIGHT
        self._views = [_ViewErrors(config, view, seed) for view in range(frames.num_views)]

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: color premultiplied by alpha, then alpha, 8 bit."""
        truth = self._frames.read(time, view)
        if view == 0:
            return truth
        errors, moment = self._views[view], float(self._times[time])
        rgba = torch.tensor(truth).permute(2, 0, 1)[None].float()
        rgba = _blurred(rgba, errors.blur * self._pixel)
        shifts = errors.warp(self.width, self.height, self._pixel, moment)
        rgba = _warped(rgba, shifts * self._pixel)
        rgba[:, :3] *= errors.tint(moment)[:, None, None]
        rgba[:, :3] = torch.minimum(rgba[:, :3], rgba[:, 3:])  # premultiplied: no brighter than its coverage
        return rgba[0].permute(1, 2, 0).round().byte().numpy()


class _ViewErrors:
    """What one view gets wrong, as random functions of place and moment."""

    def __init__(self, config: PerturbationConfig, view: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(1_000_003 * seed + view)
        still = (config.warp_reach, config.warp_reach, torch.inf)
        drifting = (config.warp_reach, config.warp_reach, config.drift_reach)
        self._warps = [
            _RandomField(2, config.warp_fixed, still, generator),
            _RandomField(2, config.warp_drift, drifting, generator),
        ]
        self._tint = config.tint_fixed * torch.randn(3, generator=generator)
        self._tint_drift = _RandomField(3, config.tint_drift, (torch.inf, torch.inf, config.drift_reach), generator)
        self.blur = config.blur * float(torch.rand((), generator=generator))

    def warp(self, width: int, height: int, pixel: float, moment: float) -> Float[Tensor, "2 H W"]:
        """Displacements (x, y) in pixels of an image 256 high; smooth, so that a coarse grid of them will do."""
        x = torch.linspace(0, width / pixel, 1 + round(width / pixel / _GRID))
        y = torch.linspace(0, height / pixel, 1 + round(height / pixel / _GRID))
        places = torch.stack((*torch.meshgrid(x, y, indexing="xy"), torch.full((len(y), len(x)), moment)))
        fixed, drift = (field(places) for field in self._warps)
        return interpolate((fixed + drift)[None], (height, width), mode="bicubic", align_corners=True)[0]

    def tint(self, moment: float) -> Float[Tensor, " 3"]:
        """Factor of each color."""
        drift = self._tint_drift(torch.tensor([0.0, 0.0, moment])[:, None])[:, 0]
        return (self._tint + drift).exp()


class _RandomField:
    """A smooth random function of (x, y, moment): waves drawn so that its correlation is a Gaussian of the reaches."""

    def __init__(
        self, outputs: int, size: float, reaches: tuple[float, float, float], generator: torch.Generator
    ) -> None:
        draws = torch.randn(outputs, _WAVES, 3, generator=generator)
        self._frequencies = draws / torch.tensor(reaches)  # radians; none along an axis of infinite reach
        self._phases = 2 * torch.pi * torch.rand(outputs, _WAVES, generator=generator)
        self._size = size

    def __call__(self, places: Float[Tensor, "3 *batch"]) -> Float[Tensor, "outputs *batch"]:
        angles = torch.einsum("owd,d...->ow...", self._frequencies, places)
        phases = self._phases.reshape(*self._phases.shape, *[1] * (places.ndim - 1))
        return self._size * (2 / _WAVES) ** 0.5 * torch.cos(angles + phases).sum(1)


def _warped(images: Float[Tensor, "1 4 H W"], shifts: Float[Tensor, "2 H W"]) -> Float[Tensor, "1 4 H W"]:
    """The images, looked up at shifted places (x, y in pixels)."""
    height, width = images.shape[-2:]
    x = (torch.arange(width) + 0.5 + shifts[0]) * (2 / width) - 1
    y = (torch.arange(height)[:, None] + 0.5 + shifts[1]) * (2 / height) - 1
    return grid_sample(images, torch.stack((x, y), -1)[None], padding_mode="border", align_corners=False)


def _blurred(images: Float[Tensor, "1 4 H W"], sigma: float) -> Float[Tensor, "1 4 H W"]:
    """The images under a Gaussian of standard deviation sigma pixels; they go on as their last pixels."""
    if sigma < 0.1:  # less than a pixel's own width
        return images
    radius = max(1, round(3 * sigma))
    bell = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma).square())
    bell = (bell / bell.sum()).expand(4, 1, 1, -1)
    across = conv2d(pad(images, (radius, radius, 0, 0), mode="replicate"), bell, groups=4)
    return conv2d(pad(across, (0, 0, radius, radius), mode="replicate"), bell.mT, groups=4)
