"""Thickness of an object behind each pixel of its mask: the union of all balls that fit into the mask."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.core import parallel_for

_ROWS = 64  # per thread, at least


def union_of_balls(masks: Bool[Tensor, "T H W"]) -> Float[Tensor, "T H W"]:
    """Half the thickness of the union of all balls that fit into a mask, centered in the image plane.

    Each pixel q of the mask is the center of a ball whose radius is its distance d(q) to the mask boundary; at pixel p
    the half-thickness is h(p), h(p)^2 = max over q of d(q)^2 - |p - q|^2. Distances and maxima are exact. The border of
    the image is no boundary. (scipy's Euclidean distance transform takes twice as long as `lower_envelopes` for d.)

    Args:
        masks: masks of the object.

    Returns:
        Half-thickness, pixels; 0 outside the mask, at most half the smaller side of the image.
    """
    height, width = masks.shape[1:]
    most = 0.5 * min(height, width)
    # The boundary is halfway between the last pixel inside and the first outside.
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
