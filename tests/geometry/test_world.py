import torch

from ds4d.geometry import into_world, transform_cameras
from ds4d.rendering import ReferenceRenderer
from ds4d.types import Similarity


def test_the_users_cameras_see_in_the_users_world_what_inner_cameras_see_inside(tiny_gaussians, tiny_cameras):
    quarter = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z up becomes y up
    world = Similarity(0.4, quarter, torch.tensor([0.1, -0.2, 0.05]))
    outside = into_world(tiny_gaussians, world)
    inside = ReferenceRenderer().render(tiny_gaussians.activate(), transform_cameras(world, tiny_cameras))
    drawn = ReferenceRenderer().render(outside.activate(), tiny_cameras)
    assert inside.alphas.max() > 0.5
    torch.testing.assert_close(drawn.colors, inside.colors, atol=1e-4, rtol=0)
    torch.testing.assert_close(drawn.alphas, inside.alphas, atol=1e-4, rtol=0)


def test_the_identity_changes_nothing(tiny_gaussians):
    same = into_world(tiny_gaussians, Similarity.identity())
    for name in tiny_gaussians.__dataclass_fields__:
        torch.testing.assert_close(getattr(same, name), getattr(tiny_gaussians, name))
