"""Gaussians in world space: cameras there see what cameras in normalized space see, whichever axis is up."""

import pytest
import torch

from ds4d.geometry import (
    UP_AXES,
    UpAxis,
    evaluate_sh,
    mirror_z,
    quats_to_matrices,
    set_up_axis,
    to_world,
    transform_cameras,
)
from ds4d.rendering import ReferenceRenderer
from ds4d.types import RawGaussians, Similarity


def with_up(raw: RawGaussians, up_axis: UpAxis) -> RawGaussians:
    """Gaussians of a world with y up in a world with another axis up."""
    return to_world(raw, set_up_axis(Similarity.identity(), up_axis))


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


@pytest.mark.parametrize("up_axis", UP_AXES)
def test_up_becomes_the_axis(raw, up_axis):
    rotated = with_up(raw, up_axis)
    assert rotated.means[0].tolist() == pytest.approx([1.5 * x for x in UP_AXES[up_axis]], abs=1e-6)
    assert torch.allclose(rotated.means @ rotated.means.T, raw.means @ raw.means.T, atol=1e-5)
    assert rotated.means[0].cross(rotated.means[1], dim=0) @ rotated.means[2] == pytest.approx(
        float(raw.means[0].cross(raw.means[1], dim=0) @ raw.means[2]), abs=1e-5
    )  # a rotation, not a reflection


@pytest.mark.parametrize("up_axis", ["z", "-y"])
def test_orientation_and_color_rotate_with_the_means(raw, up_axis, generator):
    rotated = with_up(raw, up_axis)
    rotation = torch.linalg.lstsq(raw.means, rotated.means).solution.T
    assert torch.allclose(quats_to_matrices(rotated.quats), rotation @ quats_to_matrices(raw.quats), atol=1e-5)
    assert torch.equal(rotated.log_scales, raw.log_scales)
    directions = torch.randn(40, 1, 3, generator=generator)
    before, after = evaluate_sh(raw.sh, directions), evaluate_sh(rotated.sh, directions @ rotation.T)
    assert torch.allclose(before, after, atol=2e-6)
    assert not torch.allclose(before, evaluate_sh(raw.sh, directions @ rotation.T), atol=1e-2)


def test_mirrored_gaussians_are_the_mirror_image(raw, generator):
    """Covariances and view-dependent colors, too: what a left-handed camera sees of them."""
    mirrored, mirror = mirror_z(raw), torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    assert torch.equal(mirrored.means, raw.means @ mirror)

    def covariances(gaussians: RawGaussians) -> torch.Tensor:
        axes = quats_to_matrices(gaussians.quats) * gaussians.log_scales.exp()[:, None]
        return axes @ axes.mT

    torch.testing.assert_close(covariances(mirrored), mirror @ covariances(raw) @ mirror)
    directions = torch.randn(40, 1, 3, generator=generator)
    before, after = evaluate_sh(raw.sh, directions), evaluate_sh(mirrored.sh, directions @ mirror)
    assert torch.allclose(before, after, atol=2e-6)
    assert not torch.allclose(before, evaluate_sh(raw.sh, directions @ mirror), atol=1e-2)


def test_no_axis_keeps_the_world(raw):
    world = Similarity(0.4, torch.eye(3)[[1, 2, 0]], torch.ones(3))
    assert set_up_axis(world, None) is world


def test_unknown_axes_are_refused():
    with pytest.raises(ValueError, match="up_axis"):
        set_up_axis.__wrapped__(Similarity.identity(), "x")


def test_cameras_see_the_same_in_world_and_normalized_space(tiny_gaussians, tiny_cameras):
    quarter = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z up becomes y up
    world = Similarity(0.4, quarter, torch.tensor([0.1, -0.2, 0.05]))
    in_world = to_world(tiny_gaussians, world)
    expected = ReferenceRenderer().render(tiny_gaussians.activate(), transform_cameras(world, tiny_cameras))
    rendered = ReferenceRenderer().render(in_world.activate(), tiny_cameras)
    assert expected.alphas.max() > 0.5
    torch.testing.assert_close(rendered.colors, expected.colors, atol=1e-4, rtol=0)
    torch.testing.assert_close(rendered.alphas, expected.alphas, atol=1e-4, rtol=0)


def test_the_identity_changes_nothing(tiny_gaussians):
    same = to_world(tiny_gaussians, Similarity.identity())
    for name in tiny_gaussians.__dataclass_fields__:
        torch.testing.assert_close(getattr(same, name), getattr(tiny_gaussians, name))
