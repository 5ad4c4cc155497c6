import pytest
import torch

from ds4d.geometry import UpAxis, evaluate_sh, into_world, quats_to_matrices, set_up_axis
from ds4d.types import RawGaussians, Similarity

UP = {"y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0), "-y": (0.0, -1.0, 0.0)}


def turn_up(raw: RawGaussians, up_axis: UpAxis) -> RawGaussians:
    """The object of a world that is y up, like the inner one, with another axis up."""
    return into_world(raw, set_up_axis(Similarity.identity(), up_axis))


@pytest.fixture
def raw(generator: torch.Generator) -> RawGaussians:
    """Five Gaussians of degree 3, the first straight above the origin."""
    means = torch.randn(5, 3, generator=generator)
    means[0] = torch.tensor([0.0, 1.5, 0.0])
    return RawGaussians(
        means,
        torch.randn(5, 4, generator=generator),
        torch.randn(5, 3, generator=generator),
        torch.randn(5, generator=generator),
        0.05 * torch.randn(5, 16, 3, generator=generator),
    )


@pytest.mark.parametrize("up_axis", UP)
def test_up_becomes_the_axis(raw, up_axis):
    turned = turn_up(raw, up_axis)
    assert turned.means[0].tolist() == pytest.approx([1.5 * x for x in UP[up_axis]], abs=1e-6)
    assert torch.allclose(turned.means @ turned.means.T, raw.means @ raw.means.T, atol=1e-5)
    assert turned.means[0].cross(turned.means[1], dim=0) @ turned.means[2] == pytest.approx(
        float(raw.means[0].cross(raw.means[1], dim=0) @ raw.means[2]), abs=1e-5
    )  # a turn, no mirror


@pytest.mark.parametrize("up_axis", ["z", "-y"])
def test_orientation_and_color_turn_with_the_means(raw, up_axis, generator):
    turned = turn_up(raw, up_axis)
    rotation = torch.linalg.lstsq(raw.means, turned.means).solution.T
    assert torch.allclose(quats_to_matrices(turned.quats), rotation @ quats_to_matrices(raw.quats), atol=1e-5)
    assert torch.equal(turned.log_scales, raw.log_scales)
    directions = torch.randn(40, 1, 3, generator=generator)
    before, after = evaluate_sh(raw.sh, directions), evaluate_sh(turned.sh, directions @ rotation.T)
    assert torch.allclose(before, after, atol=2e-6)
    assert not torch.allclose(before, evaluate_sh(raw.sh, directions @ rotation.T), atol=1e-2)


def test_the_users_own_axis_may_stay(raw):
    world = Similarity(0.4, torch.eye(3)[[1, 2, 0]], torch.ones(3))
    assert set_up_axis(world, None) is world


def test_unknown_axes_are_refused():
    with pytest.raises(ValueError, match="up_axis must be one of y, z, -y, got 'x'"):
        set_up_axis.__wrapped__(Similarity.identity(), "x")
