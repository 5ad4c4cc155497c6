import pytest
import torch
import trimesh

from ds4d.export.mesh.triangles import average_neighbors, keep_large_components, smooth


def icosphere(levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(levels)
    return torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces)


def test_small_components_are_removed():
    large, triangles = icosphere(3)
    small, few = icosphere(0)
    vertices, rows = keep_large_components(
        torch.cat((small + 5, large, small - 5)),
        torch.cat((few, triangles + len(small), few + len(small) + len(large))),
        fraction=0.1,
    )
    assert torch.equal(vertices, large) and torch.equal(rows, triangles)


def test_components_of_similar_size_are_kept():
    large, triangles = icosphere(2)
    both = torch.cat((large, large + 5)), torch.cat((triangles, triangles + len(large)))
    vertices, rows = keep_large_components(*both, fraction=0.5)
    assert torch.equal(vertices, both[0]) and torch.equal(rows, both[1])
    assert keep_large_components(large[:0], triangles[:0], fraction=0.5)[0].shape == (0, 3)


def test_smoothing_removes_noise_and_keeps_the_volume(generator):
    vertices, triangles = icosphere(4)
    rough = vertices * (1 + 0.03 * torch.randn(len(vertices), 1, generator=generator))
    even = smooth(rough, triangles)
    assert even.norm(dim=1).std() < 0.5 * rough.norm(dim=1).std()
    volumes = [trimesh.Trimesh(v.numpy(), triangles.numpy()).volume for v in (vertices, even)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.01)


def test_averages_keep_constants_and_reduce_peaks():
    vertices, triangles = icosphere(2)
    equal = torch.full((len(vertices), 5), 3.0)
    torch.testing.assert_close(average_neighbors(equal, triangles, 3), equal)
    lonely = torch.zeros(len(vertices), 1)
    lonely[7] = 1
    assert 0 < float(average_neighbors(lonely, triangles, 4)[7]) < 0.2
