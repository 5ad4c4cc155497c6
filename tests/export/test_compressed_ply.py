import numpy as np
import pytest
import torch
from plyfile import PlyData

from ds4d.export import read_compressed_ply, write_compressed_ply, write_ply
from ds4d.types import RawGaussians


def two_gaussians() -> RawGaussians:
    """Two corners of a chunk, so that every packed value is at an end of its range."""
    return RawGaussians(
        means=torch.tensor([[0.0, 5.0, -1.0], [1.0, 6.0, 1.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, -3.0]]),
        log_scales=torch.tensor([[-4.0, -3.0, -2.0], [-1.0, -3.0, -30.0]]),
        opacity_logits=torch.tensor([30.0, 0.0]),
        sh=torch.tensor([[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]]),
    )


def test_layout(tmp_path):
    write_compressed_ply(two_gaussians(), tmp_path / "set.compressed.ply")
    ply = PlyData.read(str(tmp_path / "set.compressed.ply"))
    assert [(element.name, element.count) for element in ply.elements] == [("chunk", 1), ("vertex", 2)]
    bounds = {prop.name: float(ply["chunk"][prop.name][0]) for prop in ply["chunk"].properties}
    assert list(bounds)[:7] == ["min_x", "min_y", "min_z", "max_x", "max_y", "max_z", "min_scale_x"]
    assert (bounds["min_x"], bounds["max_y"], bounds["min_z"]) == (0, 6, -1)
    assert (bounds["min_scale_x"], bounds["max_scale_x"], bounds["min_scale_z"]) == (-4, -1, -20)
    assert (bounds["min_r"], bounds["max_r"]) == pytest.approx((0.5, 0.5 + 0.28209479), abs=1e-6)
    assert {str(prop.val_dtype) for prop in ply["vertex"].properties} == {"u4"}
    words = {prop.name: [int(word) for word in ply["vertex"][prop.name]] for prop in ply["vertex"].properties}
    assert words["packed_position"] == [0, 0xFFFFFFFF]
    assert words["packed_scale"] == [(0 << 21) | (0 << 11) | 2047, (2047 << 21) | (0 << 11) | 0]
    assert words["packed_color"] == [0x00FF00FF, 0xFF000080]
    half = 512  # of 1023: a component of 0
    assert words["packed_rotation"][0] == (0 << 30) | (half << 20) | (half << 10) | half
    assert words["packed_rotation"][1] == (1 << 30) | (half << 20) | (half << 10) | 0  # x is largest, z = -1 / sqrt(2)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_round_trip_up_to_quantization(tmp_path, random_gaussians, degree):
    raw = random_gaussians(degree, 700)  # two full chunks and a part of a third
    write_compressed_ply(raw, tmp_path / "set.compressed.ply")
    read = read_compressed_ply(tmp_path / "set.compressed.ply")
    assert read.sh.shape == raw.sh.shape
    order = torch.cdist(read.means, raw.means).argmin(1)
    assert sorted(order.tolist()) == list(range(700))
    for name, bits in (("means", 10), ("log_scales", 10)):
        before, after = getattr(raw, name)[order], getattr(read, name)
        extents = torch.stack([c.amax(0) - c.amin(0) for c in before.split(256)]).repeat_interleave(256, 0)[:700]
        assert ((after - before).abs() <= 0.51 * extents / (2**bits - 1) + 1e-6).all(), name
    before, after = raw.activate(), read.activate()
    assert (after.quats * before.quats[order]).sum(-1).abs().min() > 0.999995
    assert (after.opacities - before.opacities[order]).abs().max() <= 0.51 / 255
    assert (after.sh[:, 1:] - before.sh[order, 1:]).abs().max() <= 4.01 / 256 if degree else True


def test_chunks_are_compact(tmp_path, generator):
    means = torch.rand(4096, 3, generator=generator)
    raw = RawGaussians(means, torch.ones(4096, 4), torch.zeros(4096, 3), torch.zeros(4096), torch.zeros(4096, 1, 3))
    write_compressed_ply(raw, tmp_path / "set.compressed.ply")
    chunk = PlyData.read(str(tmp_path / "set.compressed.ply"))["chunk"]
    extents = np.stack([chunk[f"max_{axis}"] - chunk[f"min_{axis}"] for axis in "xyz"])
    assert extents.mean() < 0.6  # of sixteen chunks in a unit cube; unsorted ones would fill it


def test_size_against_a_plain_ply(tmp_path, random_gaussians):
    raw = random_gaussians(3, 1024)
    write_ply(raw, tmp_path / "plain.ply")
    write_compressed_ply(raw, tmp_path / "set.compressed.ply")
    assert (tmp_path / "set.compressed.ply").stat().st_size < 0.28 * (tmp_path / "plain.ply").stat().st_size


def test_errors(tmp_path, random_gaussians):
    raw = random_gaussians(0)
    with pytest.raises(ValueError, match="time axis"):
        write_compressed_ply(raw.expand_times(2), tmp_path / "set.compressed.ply")
    raw.sh[0] = float("inf")
    with pytest.raises(ValueError, match="sh must be finite"):
        write_compressed_ply(raw, tmp_path / "set.compressed.ply")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"set\.compressed\.ply"):
        read_compressed_ply(tmp_path / "set.compressed.ply")
    write_ply(random_gaussians(0), tmp_path / "plain.ply")
    with pytest.raises(ValueError, match=r"plain\.ply must be a valid compressed PLY file"):
        read_compressed_ply(tmp_path / "plain.ply")
