"""How thick an object is behind each pixel of its silhouette, as a soft toy would be."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.core import parallel_for

_ROWS = 64  # worth handing to another thread


def union_of_balls(masks: Bool[Tensor, "T H W"]) -> Float[Tensor, "T H W"]:
    """Half the thickness of the union of all balls that fit into the silhouette, centered in the image's plane.

    Each pixel q inside bears a ball with the distance d(q) to the silhouette's rim as its radius; above pixel p the
    union reaches h(p), h(p)^2 = max over q of d(q)^2 - |p - q|^2. Both maxima are exact. Where the image cuts the
    object off, there is no rim.

    Args:
        masks: silhouettes.

    Returns:
        Pixels; 0 outside, and at most half the image's smaller side.
    """
    height, width = masks.shape[1:]
    most = 0.5 * min(height, width)
    # The rim runs half-way between the last pixel inside and the first outside.
    squared = _min_plus_parabola(torch.where(masks, torch.inf, 0.0))
    radii = (squared.sqrt() - 0.5).clamp(0, most)
    squared = -_min_plus_parabola(torch.where(masks, -radii.square(), torch.inf))
    return torch.where(masks, squared.clamp_min(0).sqrt(), 0.0)


def _min_plus_parabola(values: Float[Tensor, "T H W"]) -> Float[Tensor, "T H W"]:
    """g(p) = min over q of values(q) + |p - q|^2, one axis after the other."""
    from ds4d.multiview.inflate.kernels import lower_envelopes

    for _ in range(2):
        rows = np.ascontiguousarray(values.cpu().numpy()).reshape(-1, values.shape[-1])
        parallel_for(lower_envelopes, len(rows), _ROWS, rows)
        values = torch.from_numpy(rows.reshape(values.shape)).mT.contiguous()
    return values
