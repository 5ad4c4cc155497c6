import numpy as np
import pytest
import torch
import trimesh

from ds4d.export.mesh.surface_nets import extract_surface


def grid(resolution: int) -> torch.Tensor:
    """Positions of the grid points in [-1, 1]^3."""
    axis = torch.linspace(-1, 1, resolution)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def test_sphere():
    values = grid(24).norm(dim=-1) - 0.7
    vertices, triangles = extract_surface(values)
    positions = 2 * vertices / 23 - 1
    assert (positions.norm(dim=-1) - 0.7).abs().max() < 0.01
    mesh = trimesh.Trimesh(positions.numpy(), triangles.numpy(), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.euler_number == 2
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.02)  # positive: triangles face outwards


def test_plane_is_exact():
    values = grid(9)[..., 1] - 0.1
    vertices, _ = extract_surface(values)
    inner = ((vertices > 0.5) & (vertices < 7.5))[:, [0, 2]].all(1) & (vertices[:, 1] > 1)
    torch.testing.assert_close(vertices[inner, 1], torch.full((int(inner.sum()),), 4 + 0.1 * 4), atol=1e-5, rtol=0)


def test_surface_is_closed_at_the_border():
    vertices, triangles = extract_surface(torch.full((5, 6, 7), -1.0)[:5, :5, :5])
    mesh = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    assert mesh.is_watertight and mesh.volume > 4**3


def test_torus():
    x, y, z = grid(32).unbind(-1)
    values = ((x.square() + y.square()).sqrt() - 0.6).square() + z.square() - 0.25**2
    vertices, triangles = extract_surface(values)
    mesh = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    assert mesh.is_watertight and mesh.euler_number == 0


def test_empty_grid():
    vertices, triangles = extract_surface(torch.ones(4, 4, 4))
    assert vertices.shape == (0, 3) and triangles.shape == (0, 3)
