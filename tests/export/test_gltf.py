import numpy as np
import pytest
import torch
import trimesh

from ds4d.export import write_gltf
from ds4d.export.glb import to_linear

PREFIX = "KHR_gaussian_splatting:"


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_every_attribute_is_what_the_extension_says(tmp_path, draw_gaussians, read_glb, degree):
    raw = draw_gaussians(degree, 30)
    write_gltf(raw, tmp_path / "set.glb")
    gltf = read_glb(tmp_path / "set.glb")
    assert gltf.json["extensionsUsed"] == ["KHR_gaussian_splatting"]
    (primitive,) = gltf.json["meshes"][gltf.json["nodes"][0]["mesh"]]["primitives"]
    assert primitive["mode"] == 0  # points
    kernel = primitive["extensions"]["KHR_gaussian_splatting"]
    assert kernel == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    read = {name: gltf.rows(accessor) for name, accessor in primitive["attributes"].items()}
    drawn = raw.activate()
    np.testing.assert_array_equal(read.pop("POSITION"), raw.means.numpy())
    np.testing.assert_array_equal(read.pop(PREFIX + "SCALE"), drawn.scales.numpy())
    np.testing.assert_array_equal(read.pop(PREFIX + "OPACITY")[:, 0], drawn.opacities.numpy())
    np.testing.assert_array_equal(read.pop(PREFIX + "ROTATION"), drawn.quats[:, [1, 2, 3, 0]].numpy())  # xyzw
    colors = read.pop("COLOR_0")
    np.testing.assert_allclose(colors[:, 3], drawn.opacities.numpy(), atol=0.51 / 255)
    plain = np.clip(0.5 + 0.28209479 * raw.sh[:, 0].numpy(), 0, 1)
    np.testing.assert_allclose(colors[:, :3], to_linear(plain), atol=0.51 / 255)
    coefficients = {f"{PREFIX}SH_DEGREE_{d}_COEF_{n}": d * d + n for d in range(degree + 1) for n in range(2 * d + 1)}
    assert set(read) == set(coefficients)
    for name, basis in coefficients.items():
        np.testing.assert_array_equal(read[name], raw.sh[:, basis].numpy())


def test_programs_that_only_know_points_see_a_cloud(tmp_path, draw_gaussians):
    raw = draw_gaussians(0, 30)
    write_gltf(raw, tmp_path / "set.glb")
    (cloud,) = trimesh.load(tmp_path / "set.glb").geometry.values()
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_allclose(np.sort(cloud.vertices, 0), np.sort(raw.means.numpy(), 0), atol=1e-7)


def test_linear_light_is_that_of_srgb():
    known = to_linear(np.array([[0.0, 0.04045, 0.5], [0.735357, 1.0, 0.02]]))
    np.testing.assert_allclose(known, [[0, 0.0031308, 0.2140411], [0.5, 1, 0.0015480]], atol=1e-6)


def test_what_cannot_be_written_is_named(tmp_path, draw_gaussians):
    raw = draw_gaussians(0)
    raw.quats[2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"write_gltf: .*set\.glb: quats must be finite, got 1 values"):
        write_gltf(raw, tmp_path / "set.glb")
    assert list(tmp_path.iterdir()) == []
