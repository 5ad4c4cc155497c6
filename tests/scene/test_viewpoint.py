"""The distance from which all of an object is seen."""

import math
from dataclasses import replace

import pytest
import torch

from ds4d.scene import DynamicGaussians, Timeline, viewing_distance
from ds4d.types import RawGaussians, Similarity


def distance(raw: RawGaussians) -> float:
    return viewing_distance(DynamicGaussians(raw, None, Timeline((0.0,), 1.0, False), Similarity.identity()))


@pytest.mark.parametrize("opacity", [0.001, 0.04])
def test_gaussians_that_have_faded_do_not_count(tiny_gaussians: RawGaussians, opacity: float) -> None:
    many = tiny_gaussians.num_gaussians
    means, logits = tiny_gaussians.means.clone(), torch.full((many,), 2.0)
    means[: many // 2] *= 10
    far = replace(tiny_gaussians, means=means, opacity_logits=logits)
    logits = logits.clone()
    logits[: many // 2] = math.log(opacity / (1 - opacity))
    faded = replace(far, opacity_logits=logits)
    near = RawGaussians(**{name: getattr(far, name)[many // 2 :] for name in RawGaussians.__dataclass_fields__})
    assert distance(faded) == pytest.approx(distance(near), rel=1e-5)
    assert distance(faded) < distance(far) / 2


def test_where_all_have_faded_all_count(tiny_gaussians: RawGaussians) -> None:
    hidden = replace(tiny_gaussians, opacity_logits=torch.full_like(tiny_gaussians.opacity_logits, -9.0))
    shown = replace(tiny_gaussians, opacity_logits=torch.full_like(tiny_gaussians.opacity_logits, 9.0))
    assert distance(hidden) == distance(shown)
