"""Evaluation of a scene at any time."""

from collections.abc import Callable

import pytest
import torch

from ds4d.scene import DynamicGaussians, Timeline
from ds4d.types import RawGaussians

MakeScene = Callable[..., DynamicGaussians]


def test_times_become_the_leading_axis(make_scene: MakeScene) -> None:
    scene = make_scene()
    times = torch.tensor([0.0, 0.33, 1.0])
    gaussians = scene.at(times)
    assert gaussians.means.shape == (3, 12, 3)
    assert (gaussians.scales > 0).all() and ((gaussians.opacities > 0) & (gaussians.opacities < 1)).all()
    assert not torch.allclose(gaussians.means[0], gaussians.means[2], atol=1e-4)
    torch.testing.assert_close(scene.at(times[1:2]).means[0], gaussians.means[1])


def test_max_distances_cover_all_frames(make_scene: MakeScene, tiny_gaussians: RawGaussians) -> None:
    scene = make_scene()
    expected = scene.raw_at(torch.tensor(scene.timeline.times)).means.norm(dim=-1).amax(0)
    torch.testing.assert_close(scene.max_distances(), expected)
    assert (scene.max_distances() > tiny_gaussians.means.norm(dim=-1)).any()


def test_scene_without_field_is_static(make_scene: MakeScene, tiny_gaussians: RawGaussians) -> None:
    raw = make_scene(None).raw_at(torch.tensor([0.0, 1.0]))
    assert torch.equal(raw.means, tiny_gaussians.means.expand(2, -1, -1))


@pytest.mark.parametrize("time", [-0.01, 1.01])
def test_times_outside_the_unit_interval_raise(make_scene: MakeScene, time: float) -> None:
    with pytest.raises(ValueError, match="times"):
        make_scene().at(torch.tensor([0.5, time]))


def test_middle_frame() -> None:
    assert [Timeline(tuple(map(float, range(n))), 1.0, False).middle for n in (1, 2, 3, 4)] == [0, 1, 1, 2]
