"""Meshes as images: coverage, depth order, perspective, textures, and the cameras' conventions."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds4d.io import GltfModel, read_gltf
from ds4d.rendering import render_mesh

EYE = np.eye(4, dtype=np.float32)
SIZE = 32
K = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1]], np.float32)  # an object 1 wide at depth 1 fills it


def square(z: float, half: float = 0.25) -> list[list[float]]:
    return [[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]]


def model_of(glb, path: Path, points, triangles, colors=None, material=None, uvs=None) -> GltfModel:
    attributes = {"POSITION": glb.add(np.asarray(points, np.float32))}
    if colors is not None:
        attributes["COLOR_0"] = glb.add(np.asarray(colors, np.float32))
    if uvs is not None:
        attributes["TEXCOORD_0"] = glb.add(np.asarray(uvs, np.float32))
    primitive = {"attributes": attributes, "indices": glb.add(np.asarray(triangles, "u2").ravel(), "u2")}
    if material is not None:
        glb.json["materials"] = [material]
        primitive["material"] = 0
    glb.json |= {"meshes": [{"primitives": [primitive]}], "nodes": [{"mesh": 0}]}
    glb.json |= {"scene": 0, "scenes": [{"nodes": [0]}]}
    return read_gltf(glb.write(path / "model.glb"))


def shown(model: GltfModel, viewmat: np.ndarray = EYE) -> np.ndarray:
    return render_mesh(model, model.vertices_at(None, 0.0), viewmat, K, SIZE, SIZE)


def test_a_square_covers_its_pixels(glb, tmp_path: Path) -> None:
    """Half the image wide at depth 1, a quarter at depth 2; edges between pixels are exact."""
    image = shown(model_of(glb, tmp_path, square(1.0), [[0, 1, 2], [0, 2, 3]]))
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[8:24, 8:24] = 255
    np.testing.assert_array_equal(image[..., 3], expected)
    assert (image[8:24, 8:24, :3] == 255).all()


def test_part_of_a_pixel_is_part_of_its_alpha(glb, tmp_path: Path) -> None:
    image = shown(model_of(glb, tmp_path, square(1.0, half=0.25 + 1 / SIZE / 3), [[0, 1, 2], [0, 2, 3]]))
    assert image[16, 7, 3] == round(255 / 3) and image[7, 7, 3] == round(255 / 9) and image[16, 7, 0] == 255


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_surface_is_seen_whatever_the_order(glb, tmp_path: Path, order: tuple[int, int]) -> None:
    points = np.stack([square(2.0), square(1.0)])[list(order)].reshape(8, 3)
    colors = np.repeat([[1, 0, 0], [0, 0, 1]], 4, axis=0).reshape(2, 4, 3)[list(order)].reshape(8, 3)
    triangles = [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    model = model_of(glb, tmp_path, points, triangles, colors)
    assert shown(model)[16, 16].tolist() == [0, 0, 255, 255]


def test_colors_are_interpolated_in_perspective(glb, tmp_path: Path) -> None:
    """A floor from depth 1 to 3, black to white; the middle of its image is nearer than the middle of the floor."""
    points = [[-0.1, 0.25, 1], [0.1, 0.25, 1], [0.3, 0.75, 3], [-0.3, 0.75, 3]]
    points[2][1] = points[3][1] = -0.75
    colors = [[0, 0, 0]] * 2 + [[1, 1, 1]] * 2
    image = shown(model_of(glb, tmp_path, points, [[0, 1, 2], [0, 2, 3]], colors))
    linear = (1 / (0.5 * (1 + 1 / 3)) - 1) / 2  # of the way from depth 1 to 3
    wanted = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert abs(float(image[15:17, 16, 0].mean()) - wanted) < 4


def test_what_a_texture_cuts_out_shows_what_is_behind(glb, tmp_path: Path) -> None:
    """Left half of the texture transparent: there the red square behind it is seen."""
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[:, 0, 3] = 0
    png = BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    view = glb.add(np.frombuffer(png.getvalue(), np.uint8), "u1")
    glb.json["images"] = [{"bufferView": glb.json["accessors"][view]["bufferView"], "mimeType": "image/png"}]
    glb.json |= {"textures": [{"source": 0, "sampler": 0}], "samplers": [{"magFilter": 9728, "minFilter": 9728}]}
    material = {"alphaMode": "MASK", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
    uvs = corners + [[0.75, 0.5]] * 4  # the square behind is opaque
    colors = [[0, 1, 0]] * 4 + [[1, 0, 0]] * 4
    triangles = [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    model = model_of(glb, tmp_path, square(1.0) + square(2.0), triangles, colors, material, uvs)
    image = shown(model)
    assert image[16, 14].tolist() == [255, 0, 0, 255] and image[16, 18].tolist() == [0, 255, 0, 255]
    assert image[16, 9, 3] == 0  # beside the smaller square behind, nothing


def test_what_is_behind_the_camera_is_not_drawn(glb, tmp_path: Path) -> None:
    model = model_of(glb, tmp_path, square(1.0), [[0, 1, 2], [0, 2, 3]])
    viewmat = EYE.copy()
    viewmat[2, 3] = -2
    assert not shown(model, viewmat).any()
    viewmat[2, 3], angle = 0, math.radians(30)
    viewmat[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    turned = shown(model, viewmat)[..., 3]
    assert turned[9, 9] == 0 and abs(int((turned > 127).sum()) - 256) < 16
