from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from ds4d.export import read_ply, write_ply


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip_is_bit_exact(tmp_path, random_gaussians, degree):
    raw = random_gaussians(degree)
    raw.means[0] = torch.tensor([1e-42, -0.0, 3e38])  # subnormal, signed zero, huge
    write_ply(raw, tmp_path / "set.ply")
    read = read_ply(tmp_path / "set.ply")
    for field in fields(raw):
        before, after = getattr(raw, field.name), getattr(read, field.name)
        assert torch.equal(before.view(torch.int32), after.view(torch.int32)), field.name
    assert [path.name for path in tmp_path.iterdir()] == ["set.ply"]


def test_layout(tmp_path, random_gaussians):
    raw = random_gaussians(1)
    write_ply(raw, tmp_path / "set.ply")
    ply = PlyData.read(str(tmp_path / "set.ply"))
    assert (ply.text, ply.byte_order) == (False, "<")
    vertices = ply["vertex"]
    names = [prop.name for prop in vertices.properties]
    assert names == (
        ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
        + [f"f_rest_{i}" for i in range(9)]
        + ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    )
    assert {vertices.data.dtype[name].str for name in names} == {"<f4"}
    column = {name: torch.from_numpy(np.array(vertices[name])) for name in names}
    assert torch.equal(column["opacity"], raw.opacity_logits)
    assert torch.equal(column["rot_0"], raw.quats[:, 0])  # w first
    assert torch.equal(column["scale_2"], raw.log_scales[:, 2])
    assert torch.equal(column["f_dc_1"], raw.sh[:, 0, 1])
    assert torch.equal(column["f_rest_2"], raw.sh[:, 3, 0])  # red's three bases first,
    assert torch.equal(column["f_rest_3"], raw.sh[:, 1, 1])  # then green's
    assert not column["nx"].any()


def test_padding_adds_zeros(tmp_path, random_gaussians):
    raw = random_gaussians(1)
    write_ply(raw, tmp_path / "set.ply", sh_degree=3)
    sh = read_ply(tmp_path / "set.ply").sh
    assert sh.shape == (7, 16, 3)
    assert torch.equal(sh[:, :4], raw.sh)
    assert not sh[:, 4:].any()
    with pytest.raises(ValueError, match=r"sh_degree .* got 0"):
        write_ply(raw, tmp_path / "set.ply", sh_degree=0)


@pytest.mark.parametrize("name", ["means", "quats", "log_scales", "opacity_logits", "sh"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, random_gaussians, name, value):
    raw = random_gaussians(0)
    getattr(raw, name).view(-1)[3] = value
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        write_ply(raw, tmp_path / "set.ply")
    assert list(tmp_path.iterdir()) == []


def test_a_time_axis_is_refused(tmp_path, random_gaussians):
    raw = random_gaussians(0)
    moving = replace(
        raw, **{name: getattr(raw, name)[None] for name in ("means", "quats", "log_scales", "opacity_logits")}
    )
    with pytest.raises(ValueError, match="time axis"):
        write_ply(moving, tmp_path / "set.ply")


def write_vertices(path, names: list[str], fill: float = 0.0) -> None:
    vertices = np.full(3, fill, dtype=[(name, "f4") for name in names])
    PlyData([PlyElement.describe(vertices, "vertex")]).write(str(path))


GAUSSIAN = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
GAUSSIAN += ["rot_0", "rot_1", "rot_2", "rot_3"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.ply"
    with pytest.raises(ValueError, match=r"other\.ply .* got nothing"):
        read_ply(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n not a ply at all")
    with pytest.raises(ValueError, match=r"other\.ply must be a valid PLY file"):
        read_ply(path)
    write_vertices(path, ["x", "y", "z", "red", "green", "blue"])
    with pytest.raises(ValueError, match="f_dc_0"):
        read_ply(path)
    write_vertices(path, [*GAUSSIAN, "f_rest_0", "f_rest_1"])
    with pytest.raises(ValueError, match=r"f_rest_\*, got 2"):
        read_ply(path)
    write_vertices(path, GAUSSIAN, fill=float("nan"))
    with pytest.raises(ValueError, match="means must be finite"):
        read_ply(path)
    faces = np.zeros(1, dtype=[("a", "i4")])
    PlyData([PlyElement.describe(faces, "face")]).write(str(path))
    with pytest.raises(ValueError, match=r"vertex, got \['face'\]"):
        read_ply(path)


def test_truncated_files_are_refused(tmp_path, random_gaussians):
    path = tmp_path / "set.ply"
    write_ply(random_gaussians(1), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="must be a valid PLY file"):
        read_ply(path)


def test_properties_may_be_in_any_order(tmp_path):
    write_vertices(tmp_path / "set.ply", GAUSSIAN[::-1], fill=0.25)
    assert read_ply(tmp_path / "set.ply").sh.shape == (3, 1, 3)
