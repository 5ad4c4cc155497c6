import pytest
import torch
import trimesh

from ds4d.export.mesh.triangles import average_neighbors, keep_large_parts, smooth


def icosphere(levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(levels)
    return torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces)


def test_crumbs_are_left_out():
    large, triangles = icosphere(3)
    small, few = icosphere(0)
    vertices, rows = keep_large_parts(
        torch.cat((small + 5, large, small - 5)),
        torch.cat((few, triangles + len(small), few + len(small) + len(large))),
        share=0.1,
    )
    assert torch.equal(vertices, large) and torch.equal(rows, triangles)


def test_parts_of_like_size_stay():
    large, triangles = icosphere(2)
    both = torch.cat((large, large + 5)), torch.cat((triangles, triangles + len(large)))
    vertices, rows = keep_large_parts(*both, share=0.5)
    assert torch.equal(vertices, both[0]) and torch.equal(rows, both[1])
    assert keep_large_parts(large[:0], triangles[:0], share=0.5)[0].shape == (0, 3)


def test_smoothing_takes_noise_away_and_keeps_the_volume(generator):
    vertices, triangles = icosphere(4)
    rough = vertices * (1 + 0.03 * torch.randn(len(vertices), 1, generator=generator))
    even = smooth(rough, triangles)
    assert even.norm(dim=1).std() < 0.5 * rough.norm(dim=1).std()
    volumes = [trimesh.Trimesh(v.numpy(), triangles.numpy()).volume for v in (vertices, even)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.01)


def test_averages_keep_what_is_equal_and_calm_what_is_not():
    vertices, triangles = icosphere(2)
    equal = torch.full((len(vertices), 5), 3.0)
    torch.testing.assert_close(average_neighbors(equal, triangles, 3), equal)
    lonely = torch.zeros(len(vertices), 1)
    lonely[7] = 1
    assert 0 < float(average_neighbors(lonely, triangles, 4)[7]) < 0.2
