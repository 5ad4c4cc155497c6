"""Steadiness over time: the network sees each frame alone, and what it says of parts at rest would flicker."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.multiview.depth_pairs import DepthPair
from ds4d.types import Cameras

REACH = 4  # frames before and after that are looked at
_SPAN = 2.0  # standard deviation of the weights over time, frames
_COLOR = 0.08  # standard deviation of the colors of one place that is at rest
_COVERED = 0.6  # least part of a pixel that must be inside the mask of another frame
_TINY = math.exp(-50)


def steadied(pair: DepthPair, cameras: Cameras) -> DepthPair:
    """Averages depths and back colors over nearby frames, where a pixel shows the same color in both (bilateral).

    Args:
        pair: depth maps of consecutive frames.
        cameras: their cameras, which may crop differently but are at one place.
    """
    layers = torch.cat((pair.front[:, None], pair.back[:, None], pair.back_colors, pair.front_colors), dim=1)
    inside = pair.inside[:, None].float()
    layers = torch.cat((layers * inside, inside), dim=1)
    count = len(layers)
    total, weights = torch.zeros_like(layers[:, :5]), torch.zeros_like(inside)
    for shift in range(-REACH, REACH + 1):
        if abs(shift) >= count:
            continue
        here, there = slice(max(0, -shift), count - max(0, shift)), slice(max(0, shift), count - max(0, -shift))
        grid = _grid(cameras[here], cameras[there])
        seen = F.grid_sample(layers[there], grid, align_corners=False)
        values, covered = seen[:, :-1] / seen[:, -1:].clamp_min(1e-3), seen[:, -1:]
        differences = (values[:, 5:] - pair.front_colors[here]).square().sum(1, keepdim=True)
        weight = (covered > _COVERED) * (-differences / (2 * _COLOR**2) - 0.5 * (shift / _SPAN) ** 2).exp()
        total[here] += weight * values[:, :5]
        weights[here] += weight
    averages = total / weights.clamp_min(_TINY)
    own = layers[:, :5] / inside.clamp_min(1)
    front, back, colors = torch.where(weights > _TINY, averages, own).split((1, 1, 3), dim=1)
    front, back = front[:, 0], back[:, 0]
    return replace(pair, front=front, back=torch.maximum(front, back), back_colors=colors)


def _grid(here: Cameras, there: Cameras) -> Float[Tensor, "T H W 2"]:
    """Where the pixels of some crops are in other crops of the same picture, for `grid_sample`."""
    ours, theirs = here.Ks.reshape(-1, 3, 3), there.Ks.reshape(-1, 3, 3)
    axes = []
    for axis, size in ((0, here.width), (1, here.height)):
        pixels = torch.arange(size, device=ours.device) + 0.5
        rays = (pixels - ours[:, axis, 2, None]) / ours[:, axis, axis, None]
        axes.append((rays * theirs[:, axis, axis, None] + theirs[:, axis, 2, None]) * (2 / size) - 1)
    return torch.stack(torch.broadcast_tensors(axes[0][:, None, :], axes[1][:, :, None]), dim=-1)
