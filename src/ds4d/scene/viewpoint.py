"""The default viewpoint on an object: the field of view and the distance at which all of it is visible."""

import math

import torch

from ds4d.scene.base import Scene

FOVY_DEG = 33.9  # full vertical field of view of the default camera
SEEN_OPACITY = 0.05  # below which a Gaussian is not seen, such as one that has faded
_MARGIN = 1.1
_QUANTILE = 0.998  # fraction of the Gaussians that must be visible: a few outliers must not make the object small


def viewing_distance(scene: Scene) -> float:
    """The distance from the origin at which a camera of `FOVY_DEG` sees the whole object at all times, from any side.

    Returns:
        The distance in normalized units.
    """
    times = torch.linspace(0, 1, min(8, len(scene.timeline.times)), device=scene.device)
    with torch.no_grad():
        raw = scene.raw_at(times)
        distances, is_seen = raw.means.norm(dim=-1), raw.opacity_logits.sigmoid() >= SEEN_OPACITY
        if is_seen.any():
            distances = distances[is_seen]
        reach = distances.flatten().quantile(_QUANTILE)
    return _MARGIN * float(reach) / math.sin(0.5 * math.radians(FOVY_DEG))
