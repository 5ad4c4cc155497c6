"""The rotation of the whole object about the vertical axis, as of somebody who turns around or of a turntable.

It is taken out before the field deforms the rest: a field that has to carry every Gaussian around the object learns the
motion of limbs badly, and what one frame shows of a side does not reach the others.
"""

from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ds4d.geometry import multiply_quats
from ds4d.types import Gaussians, RawGaussians

_SHIFT = 0.1  # normalized space: the axis moves more slowly than the angles

AnyGaussians = TypeVar("AnyGaussians", Gaussians, RawGaussians)


class RootRotation(nn.Module):
    """A learned angle for each frame, and a learned vertical axis.

    The angles are kept as the differences between consecutive frames: what is learned near the canonical frame turns
    all frames beyond it along, so that training, which spreads from there, finds them roughly in place.

    Args:
        times: times of the frames, rising, in [0, 1].
        origin: index of the canonical frame, whose angle is 0.

    Attributes:
        steps: differences of the angles of consecutive frames, radians; counterclockwise seen from above.
        shift: x and z of the axis in normalized space, in units of `_SHIFT`.
    """

    times: Tensor

    def __init__(self, times: Float[Tensor, " T"], origin: int) -> None:
        super().__init__()
        self.origin = origin
        self.steps = nn.Parameter(torch.zeros(len(times) - 1))
        self.shift = nn.Parameter(torch.zeros(2))
        self.register_buffer("times", times.clone())

    def angles(self) -> Float[Tensor, " T"]:
        """The angle of each frame, radians."""
        angles = torch.cat((self.steps.new_zeros(1), self.steps.cumsum(0)))
        return angles - angles[self.origin]

    def at(self, times: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The angles at any times, linear between the frames."""
        angles, last = self.angles(), len(self.times) - 2
        before = (torch.searchsorted(self.times, times.contiguous(), right=True) - 1).clamp(0, last)
        fraction = ((times - self.times[before]) / (self.times[before + 1] - self.times[before])).clamp(0, 1)
        return angles[before] + fraction * self.steps[before]

    @torch.no_grad()
    def turn(self) -> Float[Tensor, ""]:
        """How far the object turns over the video: the largest angle minus the smallest, radians."""
        angles = self.angles()
        return angles.amax() - angles.amin()

    def points(self, points: Float[Tensor, "B N 3"], times: Float[Tensor, " B"]) -> Float[Tensor, "B N 3"]:
        """Points of the object turned to some times."""
        return self._turned(points, self.at(times)[:, None])

    def gaussians(self, gaussians: AnyGaussians, times: Float[Tensor, " B"]) -> AnyGaussians:
        """Gaussians of the object turned to some times. View-dependent color stays with the world, as light does."""
        angles = self.at(times)[:, None]
        half, zero = 0.5 * angles, torch.zeros_like(angles)
        turns = torch.stack((half.cos(), zero, half.sin(), zero), dim=-1)
        quats = multiply_quats(turns, gaussians.quats)
        return replace(gaussians, means=self._turned(gaussians.means, angles), quats=quats)

    def _turned(self, points: Float[Tensor, "B N 3"], angles: Float[Tensor, "B 1"]) -> Float[Tensor, "B N 3"]:
        # One value per time: its gradient is a sum along an axis, which no number of threads divides otherwise.
        axis_x, axis_z = (_SHIFT * self.shift).expand(len(points), 2)[:, None].unbind(-1)
        x, y, z = points.unbind(-1)
        x, z = x - axis_x, z - axis_z
        cos, sin = angles.cos(), angles.sin()
        return torch.stack((cos * x + sin * z + axis_x, y, cos * z - sin * x + axis_z), dim=-1)
