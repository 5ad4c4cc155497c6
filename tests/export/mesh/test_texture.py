"""Textures: each texel has the color of its point, and the cut mesh is the same surface."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ds4d.export.mesh import write_animated_glb
from ds4d.export.mesh.texture import bake_texture
from ds4d.geometry import orbit_cameras
from ds4d.types import Cameras, Rendering

pytest.importorskip("xatlas", reason="needs xatlas (pip install '.[texture]')")

SIZE = 256


@pytest.fixture(scope="module")
def sphere() -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    return torch.from_numpy(np.array(mesh.vertices)).float(), torch.from_numpy(np.array(mesh.faces)).long()


def color_of(points: torch.Tensor) -> torch.Tensor:
    """Finer than the triangles."""
    return 0.5 + 0.4 * torch.sin(20 * points)


@pytest.fixture(scope="module")
def views() -> tuple[Rendering, Cameras]:
    """The sphere ray traced from 14 sides."""
    azimuths, elevations = [*[i * 60.0 for i in range(6)] * 2, 0.0, 0.0], [*[35.0] * 6, *[-35.0] * 6, 89.0, -89.0]
    cameras = orbit_cameras(azimuths, elevations, fovy_deg=40.0, distance=2.0, width=SIZE, height=SIZE)
    rows, columns = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    rays = torch.stack((columns, rows, torch.ones_like(rows)), -1) @ torch.linalg.inv(cameras.Ks[0]).T
    colors, alphas, depths = [], [], []
    for view in range(cameras.num_views):
        world = torch.linalg.inv(cameras.viewmats[view])
        directions, origin = rays @ world[:3, :3].T, world[:3, 3]
        a, b = (directions**2).sum(-1), (directions * origin).sum(-1)
        root = b**2 - a * ((origin**2).sum() - 0.25)
        depth = (-b - root.clamp_min(0).sqrt()) / a
        hit = (root > 0).float()
        colors.append((color_of(origin + depth[..., None] * directions) * hit[..., None]).permute(2, 0, 1))
        alphas.append(hit[None])
        depths.append((depth * hit)[None])
    return Rendering(torch.stack(colors), torch.stack(alphas), torch.stack(depths)), cameras


def test_texels_show_more_than_the_vertices(sphere: tuple, views: tuple, tmp_path: Path) -> None:
    vertices, triangles = sphere
    texture = bake_texture(vertices, triangles, torch.full_like(vertices, 0.5), *views, tolerance=0.03, size=SIZE)
    assert texture.image.shape == (SIZE, SIZE, 3)
    torch.testing.assert_close(vertices[texture.origins][texture.triangles], vertices[triangles])
    corners = texture.uvs[texture.triangles]
    centers = corners.mean(1)
    expected = color_of(vertices[triangles].mean(1))
    row, column = ((centers[:, i] * SIZE).long().clamp(0, SIZE - 1) for i in (1, 0))
    shown = torch.from_numpy(texture.image[row, column] / 255).float()
    errors = (shown - expected).abs().mean(1)
    assert errors.median() < 0.06 and float((errors < 0.15).float().mean()) > 0.95
    by_vertices = (color_of(vertices)[triangles].mean(1) - expected).abs().mean(1)
    assert errors.mean() < by_vertices.mean()

    write_animated_glb(
        tmp_path / "m.glb",
        torch.stack((vertices, 2 * vertices)),
        triangles,
        torch.full_like(vertices, 0.5),
        torch.tensor([0.0, 1.0]),
        texture,
    )
    read = trimesh.load(tmp_path / "m.glb", process=False).to_geometry()
    np.testing.assert_allclose(read.vertices, vertices[texture.origins].numpy(), atol=1e-6)
    image = np.asarray(read.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(image, texture.image)
    # trimesh counts v from the bottom, glTF from the top.
    np.testing.assert_allclose(read.visual.uv, np.stack((texture.uvs[:, 0], 1 - texture.uvs[:, 1]), 1), atol=1e-6)


def test_the_size_must_be_in_range(sphere: tuple, views: tuple) -> None:
    with pytest.raises(ValueError, match="texture"):
        bake_texture(*sphere, torch.zeros_like(sphere[0]), *views, tolerance=0.03, size=10)
