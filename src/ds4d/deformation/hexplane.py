"""HexPlane: features of points in space and time, read from six families of planes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.core import check_ranges, is_fused
from ds4d.deformation import hexplane_cuda
from ds4d.deformation.hexplane_cpu import read_products

_MAX_SCALES, _MAX_FACTOR = 8, 64


@dataclass(frozen=True)
class HexPlaneConfig:
    """Size of the planes.

    Attributes:
        channels: number of feature channels per scale.
        resolution: number of cells along each spatial axis at the coarsest scale.
        multipliers: factors of `resolution`, one per scale; the features of all scales are concatenated.
        time_resolution: number of cells along the time axis at every scale, at least 2; 0 means one per frame.
    """

    channels: int = 16
    resolution: int = 32
    multipliers: tuple[int, ...] = (1, 2, 4)
    time_resolution: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, channels="[1, 1024]", resolution="[2, 4096]", time_resolution="[0, 65536]")
        if self.time_resolution == 1:
            raise ValueError("time_resolution must be 0 or at least 2, got 1. Give 0 for one per frame.")
        if not 1 <= len(self.multipliers) <= _MAX_SCALES or not all(1 <= m <= _MAX_FACTOR for m in self.multipliers):
            raise ValueError(
                f"multipliers must be 1 to {_MAX_SCALES} factors from 1 to {_MAX_FACTOR}, one per scale, got "
                f"{self.multipliers[:9]}."
            )


class HexPlane(nn.Module):
    """Product of bilinear reads from xy, xz, yz (space) and xt, yt, zt (time) planes, at several scales.

    The whole time axis is read: time 0 is the first row of the time planes and time 1 the last. Points outside the box
    read its border.
    """

    aabb: Float[Tensor, "2 3"]

    def __init__(self, config: HexPlaneConfig, aabb: Float[Tensor, "2 3"], num_times: int) -> None:
        super().__init__()
        self.register_buffer("aabb", aabb.clone().float())
        rows = config.time_resolution or max(2, num_times)
        sizes = [config.resolution * multiplier for multiplier in config.multipliers]
        self.num_features = config.channels * len(sizes)
        self._spatial = nn.ParameterList(
            torch.empty(3, config.channels, size, size).uniform_(0.1, 0.5) for size in sizes
        )
        self._temporal = nn.ParameterList(torch.ones(3, config.channels, rows, size) for size in sizes)

    def spatial_planes(self) -> list[Float[Tensor, "3 C R R"]]:
        """The xy, xz, yz planes of every scale."""
        return list(self._spatial)

    def temporal_planes(self) -> list[Float[Tensor, "3 C rows R"]]:
        """The xt, yt, zt planes of every scale; rows run along time."""
        return list(self._temporal)

    def forward(self, points: Float[Tensor, "N 3"], times: Float[Tensor, " T"]) -> Float[Tensor, "T N F"]:
        """Features of every point at every time.

        Args:
            points: canonical centers, normalized space, within `aabb`.
            times: in [0, 1].
        """
        spatial = list(self._spatial)
        if is_fused("hexplane", points, times, *self.parameters()):
            at_times = _rows_at if times.requires_grad else hexplane_cuda.lines_at
            lines = [at_times(planes, times) for planes in self._temporal]
            return hexplane_cuda.read_products(points, self.aabb, spatial, lines)
        unit = 2 * (points - self.aabb[0]) / (self.aabb[1] - self.aabb[0]) - 1
        lines = [_rows_at(planes, times) for planes in self._temporal]
        if unit.device.type == "cpu" and all(x.dtype == torch.float32 for x in (unit, spatial[0], lines[0])):
            return read_products(unit, spatial, lines)
        x, y, z = unit.unbind(-1)
        pairs = torch.stack((torch.stack((x, y), -1), torch.stack((x, z), -1), torch.stack((y, z), -1)))
        features = []
        for planes, along in zip(spatial, lines, strict=True):
            in_space = F.grid_sample(planes, pairs[:, :, None], align_corners=True, padding_mode="border")
            features.append(_product(in_space[..., 0], 0) * _product(_read_lines(along, unit), 1))
        return torch.cat(features, dim=1).mT


def _product(families: Tensor, axis: int) -> Tensor:
    """Product over an axis of three; `Tensor.prod` looks for zeros in its gradient and so waits for the device."""
    first, second, third = families.unbind(axis)
    return first * second * third


def _rows_at(planes: Float[Tensor, "3 C rows R"], times: Float[Tensor, " T"]) -> Float[Tensor, "T 3 C R"]:
    """The time planes' content at given times, linear between rows; [0, 1] spans all rows."""
    position = times.clamp(0, 1) * (planes.shape[2] - 1)
    low = position.floor().long().clamp(0, planes.shape[2] - 2)
    fraction = (position - low)[:, None, None, None]
    rows = planes.permute(2, 0, 1, 3)
    return torch.lerp(rows.index_select(0, low), rows.index_select(0, low + 1), fraction)


def _read_lines(lines: Float[Tensor, "T 3 C R"], unit: Float[Tensor, "N 3"]) -> Float[Tensor, "T 3 C N"]:
    """Linear reads along x, y and z of the three families of lines; coordinates in [-1, 1], border beyond."""
    position = (unit.T.clamp(-1, 1) + 1) * (0.5 * (lines.shape[-1] - 1))
    low = position.detach().floor().long().clamp(0, lines.shape[-1] - 2)  # NaN too stays a valid index
    fraction = position - low
    index = low[None, :, None].expand(*lines.shape[:3], -1)
    left, right = lines.gather(-1, index), lines.gather(-1, index + 1)
    return torch.lerp(left, right, fraction[None, :, None].expand_as(left))
