"""How dynamic the features call each cell of each image (DSFD), and loss weights that follow it."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from ds4d.core import released
from ds4d.decoupling import DecouplingConfig, decouple, dynamic_fraction, references_of_segments
from ds4d.types import FrameFeatures, MultiViewVideo

_FULL_SHARE = 0.99  # fraction of the cells below a dynamic share of 1: a few outliers must not set the scale


def dynamic_shares(features: FrameFeatures, config: DecouplingConfig) -> Float[Tensor, "T V 1 h w"]:
    """How dynamic each cell is, in [0, 1]: its dynamic fraction (`decoupling`), 1 for the most dynamic 1 % of cells.

    Args:
        features: frame features of all frames and views, of static cameras.
        config: reference of the decoupling.
    """
    fractions = []
    for view in range(features.maps.shape[1]):
        maps = features.maps[:, view : view + 1]
        parts = [
            dynamic_fraction(decouple(frame.float(), basis))
            for rows, basis in references_of_segments(maps, config)
            for frame in released(maps[rows])
        ]
        fractions.append(torch.cat(parts))
    shares = torch.cat(fractions, dim=1) * features.valid[..., None, None]
    cells = shares[features.valid].flatten()
    full = cells.kthvalue(max(1, int(_FULL_SHARE * len(cells)))).values.clamp_min(1e-6)
    return (shares / full).clamp(0, 1).unsqueeze(2)


def with_dynamic_weights(video: MultiViewVideo, features: FrameFeatures, config: DecouplingConfig) -> MultiViewVideo:
    """The video with pixel weights that are higher where features are dynamic, mean 1 over each image; else as it is.

    Args:
        video: multi-view video.
        features: frame features of all its frames and views.
        config: reference of the decoupling, and `loss_weight`.
    """
    if not config.loss_weight:
        return video
    raised = 1 + config.loss_weight * dynamic_shares(features, config)
    weights = (raised / raised.mean(dim=(-2, -1), keepdim=True)).cpu()
    if video.pixel_weights is not None:
        others = interpolate(video.pixel_weights.flatten(0, 1), weights.shape[-2:], mode="bilinear")
        weights = weights * others.unflatten(0, weights.shape[:2])
    return replace(video, pixel_weights=weights)
