import numpy as np
import pytest
import torch
import trimesh

from ds4d.export import write_gltf
from ds4d.io import to_linear

PREFIX = "KHR_gaussian_splatting:"


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_attributes_of_the_extension(tmp_path, random_gaussians, read_glb, degree):
    raw = random_gaussians(degree, 30)
    write_gltf(raw, tmp_path / "set.glb")
    gltf = read_glb(tmp_path / "set.glb")
    assert gltf.json["extensionsUsed"] == ["KHR_gaussian_splatting"]
    (primitive,) = gltf.json["meshes"][gltf.json["nodes"][0]["mesh"]]["primitives"]
    assert primitive["mode"] == 0  # points
    kernel = primitive["extensions"]["KHR_gaussian_splatting"]
    assert kernel == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    read = {name: gltf.rows(accessor) for name, accessor in primitive["attributes"].items()}
    active = raw.activate()
    np.testing.assert_array_equal(read.pop("POSITION"), raw.means.numpy())
    np.testing.assert_array_equal(read.pop(PREFIX + "SCALE"), active.scales.numpy())
    np.testing.assert_array_equal(read.pop(PREFIX + "OPACITY")[:, 0], active.opacities.numpy())
    np.testing.assert_array_equal(read.pop(PREFIX + "ROTATION"), active.quats[:, [1, 2, 3, 0]].numpy())  # xyzw
    colors = read.pop("COLOR_0")
    np.testing.assert_allclose(colors[:, 3], active.opacities.numpy(), atol=0.51 / 255)
    plain = np.clip(0.5 + 0.28209479 * raw.sh[:, 0].numpy(), 0, 1)
    np.testing.assert_allclose(colors[:, :3], to_linear(plain), atol=0.51 / 255)
    coefficients = {f"{PREFIX}SH_DEGREE_{d}_COEF_{n}": d * d + n for d in range(degree + 1) for n in range(2 * d + 1)}
    assert set(read) == set(coefficients)
    for name, basis in coefficients.items():
        np.testing.assert_array_equal(read[name], raw.sh[:, basis].numpy())


def test_other_programs_see_a_point_cloud(tmp_path, random_gaussians):
    raw = random_gaussians(0, 30)
    write_gltf(raw, tmp_path / "set.glb")
    (cloud,) = trimesh.load(tmp_path / "set.glb").geometry.values()
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_allclose(np.sort(cloud.vertices, 0), np.sort(raw.means.numpy(), 0), atol=1e-7)


def test_srgb_to_linear():
    known = to_linear(np.array([[0.0, 0.04045, 0.5], [0.735357, 1.0, 0.02]]))
    np.testing.assert_allclose(known, [[0, 0.0031308, 0.2140411], [0.5, 1, 0.0015480]], atol=1e-6)


def test_errors(tmp_path, random_gaussians):
    raw = random_gaussians(0)
    raw.quats[2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"set\.glb: quats must be finite"):
        write_gltf(raw, tmp_path / "set.glb")
    assert list(tmp_path.iterdir()) == []
