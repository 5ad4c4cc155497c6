"""Taking Gaussians out of the inner world, where they were fitted, into the user's."""

import math

from ds4d.export.up_axis import turn_sh
from ds4d.geometry import inverse_similarity, matrices_to_quats, multiply_quats, transform_points
from ds4d.types import RawGaussians, Similarity


def into_world(raw: RawGaussians, world: Similarity) -> RawGaussians:
    """The same object in the user's world: moved, turned and scaled, view-dependent colour included.

    Args:
        raw: in the inner world.
        world: from the user's world to the inner one.
    """
    out = inverse_similarity(world)
    quat = matrices_to_quats(out.rotation).to(raw.quats)
    return RawGaussians(
        means=transform_points(out, raw.means),
        quats=multiply_quats(quat.expand_as(raw.quats), raw.quats),
        log_scales=raw.log_scales + math.log(out.scale),
        opacity_logits=raw.opacity_logits,
        sh=turn_sh(raw.sh, out.rotation.to(raw.sh)),
    )
