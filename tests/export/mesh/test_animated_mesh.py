"""Meshes of balls of Gaussians with known position, size, color and motion."""

import pytest
import torch
import trimesh

from ds4d.export.mesh import animate_mesh
from ds4d.export.mesh.tsdf import bounding_sphere, surrounding_cameras
from ds4d.geometry import rgb_to_sh
from ds4d.rendering import CpuRenderer
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

RADIUS, COUNT = 0.3, 1500
SHIFT = torch.tensor([0.0, 0.1, 0.05])


def ball_of_gaussians(*, opacity: float = 6.0) -> RawGaussians:
    """Small, opaque Gaussians over a sphere: red where x is above 0, blue elsewhere."""
    steps = torch.arange(COUNT)
    height = 1 - (2 * steps + 1) / COUNT
    angle = steps * 2.399963
    ring = (1 - height.square()).sqrt()
    directions = torch.stack((ring * angle.cos(), height, ring * angle.sin()), dim=1)
    red = (directions[:, :1] > 0).float()
    return RawGaussians(
        means=RADIUS * directions,
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(COUNT, 1),
        log_scales=torch.full((COUNT, 3), 0.02).log(),
        opacity_logits=torch.full((COUNT,), opacity),
        sh=rgb_to_sh(torch.cat((red, 0 * red, 1 - red), dim=1))[:, None],
    )


def moving(raw: RawGaussians) -> BakedGaussians:
    """Three frames: the given one in the middle, shifted backwards before and forwards after it."""
    means = torch.stack((raw.means - SHIFT, raw.means, raw.means + SHIFT))
    rest = {n: getattr(raw, n).expand(3, *getattr(raw, n).shape) for n in ("quats", "log_scales", "opacity_logits")}
    return BakedGaussians(
        RawGaussians(means, **rest, sh=raw.sh), Timeline((0.0, 0.5, 1.0), 1.0, False), Similarity.identity()
    )


@pytest.fixture(scope="module")
def mesh():
    return animate_mesh(moving(ball_of_gaussians()), CpuRenderer(), torch.tensor([0.0, 0.5, 0.75]), resolution=32)


def test_surface_is_that_of_the_middle_frame(mesh):
    distances = mesh.vertices[1].norm(dim=1)
    skin = RADIUS + 0.02  # plus a standard deviation, where opaque Gaussians become visible
    assert (distances - skin).abs().max() < 0.03  # a grid cell is 0.025
    solid = trimesh.Trimesh(mesh.vertices[1].numpy(), mesh.triangles.numpy(), process=False)
    assert solid.is_watertight and solid.euler_number == 2  # no second surface inside the hollow ball
    assert solid.volume == pytest.approx(4 / 3 * torch.pi * 0.32**3, rel=0.1)


def test_vertices_follow_the_gaussians(mesh):
    assert mesh.vertices.shape[0] == 3 and torch.equal(mesh.times, torch.tensor([0.0, 0.5, 0.75]))
    torch.testing.assert_close(mesh.vertices[0], mesh.vertices[1] - SHIFT, atol=1e-5, rtol=0)
    torch.testing.assert_close(mesh.vertices[2], mesh.vertices[1] + 0.5 * SHIFT, atol=1e-5, rtol=0)


def test_colors_are_those_of_the_renderings(mesh):
    x = mesh.vertices[1][:, 0]
    for side, color in ((x > 0.08, [1.0, 0, 0]), (x < -0.08, [0, 0, 1.0])):
        assert (mesh.colors[side] - torch.tensor(color)).abs().max() < 0.1


def test_outliers_do_not_tear_the_surface():
    raw = ball_of_gaussians()
    scene = moving(raw)
    scene.frames.means[2, ::10] += 0.5  # every tenth jumps away after the middle
    mesh = animate_mesh(scene, CpuRenderer(), torch.tensor([0.5, 1.0]), resolution=24)
    torch.testing.assert_close(mesh.vertices[1], mesh.vertices[0] + SHIFT, atol=0.01, rtol=0)


def test_transparent_gaussians_have_no_surface():
    with pytest.raises(ValueError, match="must have a surface"):
        animate_mesh(moving(ball_of_gaussians(opacity=-9.0)), CpuRenderer(), torch.zeros(1), resolution=16)


def test_cameras_surround_the_object_and_see_all_of_it():
    raw = ball_of_gaussians()
    raw.means[0] = 50.0  # an outlier
    sphere = bounding_sphere(raw)
    assert sphere.radius < 0.45 and sphere.center.norm() < 0.05
    cameras = surrounding_cameras(sphere, 40, 64)
    eyes = torch.linalg.inv(cameras.viewmats)[:, :3, 3] - sphere.center
    assert eyes.mean(0).norm() < 0.05 * eyes.norm(dim=1).mean()
    rendering = CpuRenderer().render(moving(ball_of_gaussians()).at(torch.tensor([0.5])), cameras[None])
    border = torch.cat((rendering.alphas[..., [0, -1], :].flatten(), rendering.alphas[..., [0, -1]].flatten()))
    assert border.max() < 0.5 and rendering.alphas.amax((-1, -2)).min() > 0.9
