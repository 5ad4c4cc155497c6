import base64
import json
from io import BytesIO

import numpy as np
import pytest
import trimesh
from PIL import Image

from ds4d.io import read_gltf, to_linear

TRIANGLE = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
CORNERS = np.eye(3)
HALF = 0.5**0.5  # a turn by 90 degrees about z is the quaternion (0, 0, HALF, HALF)


def add_mesh(glb, node=None, material=None, points=TRIANGLE, **attributes):
    """A mesh at a node, of points and more accessors."""
    primitive = {"attributes": {"POSITION": glb.add(points), **attributes}}
    if material is not None:
        glb.json["materials"] = [material]
        primitive["material"] = 0
    glb.json["meshes"] = [{"primitives": [primitive]}]
    glb.json["nodes"] = [{"mesh": 0, **(node or {})}]
    return primitive


def animate(glb, path, seconds, values, node=0, method="LINEAR", **extra):
    sampler = {"input": glb.add(seconds), "output": glb.add(values, **extra), "interpolation": method}
    animation = {"samplers": [sampler], "channels": [{"sampler": 0, "target": {"node": node, "path": path}}]}
    glb.json.setdefault("animations", []).append(animation)


def test_a_plain_mesh(glb, tmp_path):
    add_mesh(glb)
    model = read_gltf(glb.write(tmp_path / "m.glb"))
    assert model.faces.tolist() == [[0, 1, 2]] and model.faces.dtype == np.int32
    np.testing.assert_array_equal(model.vertices_at(None, 0.0), TRIANGLE)
    assert model.clips == ()
    np.testing.assert_array_equal(model.surface_colors(np.array([0]), np.ones((1, 3)) / 3), [[1, 1, 1]])


def test_instances_nested_below_a_matrix_and_a_mirror(glb, tmp_path):
    add_mesh(glb)
    matrix = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 6, 7, 1]  # column-major: moves by (5, 6, 7)
    glb.json["nodes"] = [
        {"matrix": matrix, "children": [1, 2]},
        {"mesh": 0, "translation": [1, 0, 0], "rotation": [0, 0, HALF, HALF], "scale": [2, 3, 1]},
        {"mesh": 0, "scale": [-1, 1, 1]},
        {"mesh": 0},
    ]
    glb.json |= {"scenes": [{"nodes": [3]}, {"nodes": [0]}], "scene": 1}
    model = read_gltf(glb.write(tmp_path / "m.glb"))
    truth = [[6, 6, 7], [6, 8, 7], [3, 6, 7], [5, 6, 7], [4, 6, 7], [5, 7, 7]]
    np.testing.assert_allclose(model.vertices_at(None, 0.0), truth, atol=1e-6)
    assert model.faces.tolist() == [[0, 1, 2], [5, 4, 3]]


@pytest.mark.parametrize(
    ("mode", "faces"),
    [(4, [[0, 1, 2]]), (5, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]), (6, [[1, 2, 0], [2, 3, 0], [3, 4, 0]])],
)
def test_lists_strips_and_fans(glb, tmp_path, mode, faces):
    primitive = add_mesh(glb, points=np.zeros((5, 3)))
    primitive |= {"indices": glb.add([0, 1, 2, 3, 4], "u1"), "mode": mode}
    assert read_gltf(glb.write(tmp_path / "m.glb")).faces.tolist() == faces


def test_sparse_and_strided_accessors(glb, tmp_path):
    primitive = add_mesh(glb)
    rows = np.array([[*point, 9, 9] for point in TRIANGLE], "<f4")
    glb.json["accessors"].append({
        "bufferView": glb.view(rows.tobytes(), byteStride=20), "componentType": 5126, "count": 3, "type": "VEC3",
        "sparse": {
            "count": 1,
            "indices": {"bufferView": glb.view(b"\1"), "componentType": 5121},
            "values": {"bufferView": glb.view(np.array([7, 8, 9], "<f4").tobytes())},
        },
    })  # fmt: skip
    primitive["attributes"]["POSITION"] = 1
    vertices = read_gltf(glb.write(tmp_path / "m.glb")).vertices_at(None, 0.0)
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [7, 8, 9], [0, 1, 0]])


def test_a_skin_bends_at_its_joint(glb, tmp_path):
    """The second joint, one unit up, turns by 90 degrees in two seconds: what lies above it moves to the left."""
    add_mesh(
        glb,
        {"skin": 0, "translation": [50, 0, 0]},  # a skin ignores where its mesh is
        points=[[0, 0.5, 0], [0, 2, 0], [0, 2, 0]],
        JOINTS_0=glb.add([[0, 9, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], "u1"),
        WEIGHTS_0=glb.add([[255, 0, 0, 0], [255, 0, 0, 0], [100, 100, 0, 0]], "u1", normalized=True),
    )
    glb.json["nodes"] += [{"children": [2]}, {"translation": [0, 1, 0]}]
    binds = np.tile(np.eye(4), (2, 1, 1))
    binds[1, 1, 3] = -1
    glb.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": glb.add(binds.transpose(0, 2, 1).reshape(2, 16))}]
    animate(glb, "rotation", [0, 2], [[0, 0, 0, 1], [0, 0, -HALF, -HALF]], node=2)  # the longer arc is not taken
    model = read_gltf(glb.write(tmp_path / "m.glb"))
    assert model.clips[0].seconds == 2
    np.testing.assert_allclose(model.vertices_at(None, 0.0), [[0, 0.5, 0], [0, 2, 0], [0, 2, 0]], atol=1e-6)
    np.testing.assert_allclose(model.vertices_at(0, 2.0), [[0, 0.5, 0], [-1, 1, 0], [-0.5, 1.5, 0]], atol=1e-6)
    halfway = [-HALF, 1 + HALF, 0]
    np.testing.assert_allclose(model.vertices_at(0, 1.0)[1], halfway, atol=1e-6)
    over = model.vertices_over(0, np.array([1.0, 5.0]))
    np.testing.assert_allclose(over[:, 1], [halfway, [-1, 1, 0]], atol=1e-6)


def test_morph_targets_follow_their_weights(glb, tmp_path):
    primitive = add_mesh(glb, {"translation": [0, 0, 1], "scale": [2, 2, 2]})
    primitive["targets"] = [{}, {"POSITION": glb.add([[0, 0, 4], [0, 0, 0], [1, 0, 0]])}]
    glb.json["meshes"][0]["weights"] = [1, 0.25]
    animate(glb, "weights", [0, 1], [0, 0, 0, 1])
    model = read_gltf(glb.write(tmp_path / "m.glb"))
    np.testing.assert_allclose(model.vertices_at(None, 0.0)[0], [0, 0, 3])
    np.testing.assert_allclose(model.vertices_at(0, 0.5), [[0, 0, 5], [2, 0, 1], [1, 2, 1]])


def test_steps_and_splines(glb, tmp_path):
    add_mesh(glb)
    animate(glb, "translation", [0, 1], [[0, 0, 0], [4, 0, 0]], method="STEP")
    zero, one = [0, 0, 0], [1, 0, 0]
    animate(glb, "translation", [0, 2], [zero, zero, [3, 0, 0], zero, one, zero], method="CUBICSPLINE")
    model = read_gltf(glb.write(tmp_path / "m.glb"))
    steps = model.vertices_over(0, np.array([0.0, 0.99, 1.0]))[:, 0, 0]
    np.testing.assert_array_equal(steps, [0, 0, 4])
    # Hermite at u = 1/4: (-2u^3 + 3u^2) * 1 + (u^3 - 2u^2 + u) * 2 seconds * slope 3.
    np.testing.assert_allclose(model.vertices_at(1, 0.5)[0, 0], 0.15625 + 0.140625 * 6, atol=1e-6)
    np.testing.assert_allclose(model.vertices_at(1, 2.0)[0, 0], 1)


def test_normalized_bytes(glb, tmp_path):
    add_mesh(glb)
    animate(glb, "rotation", [0], [[0, 0, 127, 0]], kind="i1", normalized=True)
    turned = read_gltf(glb.write(tmp_path / "m.glb")).vertices_at(0, 0.0)
    np.testing.assert_allclose(turned, [[0, 0, 0], [-1, 0, 0], [0, -1, 0]], atol=1e-6)


def png(pixels) -> bytes:
    content = BytesIO()
    Image.fromarray(np.array(pixels, np.uint8)).save(content, "PNG")
    return content.getvalue()


BLACK, GRAY, RED, BLUE = (0, 0, 0, 255), (188, 188, 188, 255), (255, 0, 0, 255), (0, 0, 255, 0)


def textured(glb, tmp_path, uv, material=None, sampler=None, **attributes):
    """The model of a triangle with one texture coordinate, and a texture of 2 x 2 pixels."""
    glb.json["images"] = [{"bufferView": glb.view(png([[BLACK, GRAY], [RED, BLUE]])), "mimeType": "image/png"}]
    glb.json |= {"textures": [{"source": 0, "sampler": 0}], "samplers": [sampler or {}]}
    surface = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, **(material or {}).pop("pbr", {})}}
    add_mesh(glb, None, {**surface, **(material or {})}, TEXCOORD_0=glb.add([uv] * 3), **attributes)
    return read_gltf(glb.write(tmp_path / "m.glb"))


@pytest.mark.parametrize(
    ("uv", "sampler", "color"),
    [
        ((0.75, 0.25), {}, to_linear(np.array(GRAY[:3]) / 255)),
        ((0.25, 0.75), {}, [1, 0, 0]),
        ((0.25, 0.5), {}, [0.5, 0, 0]),  # linear, between black and red
        ((1.25, -0.25), {}, [1, 0, 0]),  # repeats
        ((1.25, -0.25), {"wrapS": 33071, "wrapT": 33071}, to_linear(np.array(GRAY[:3]) / 255)),
        ((1.75, -0.75), {"wrapS": 33648, "wrapT": 33648}, [1, 0, 0]),  # mirrors
        ((0.25, 0.51), {"magFilter": 9728}, [1, 0, 0]),
    ],
)
def test_textures_are_read_in_linear_colors(glb, tmp_path, uv, sampler, color):
    model = textured(glb, tmp_path, uv, sampler=sampler)
    np.testing.assert_allclose(model.surface_colors(np.array([0]), CORNERS[:1]), [color], atol=1e-6)


def test_colors_multiply_and_what_glows_is_added(glb, tmp_path):
    colors = glb.add([[65535, 0, 0], [0, 65535, 0], [65535, 65535, 65535]], "u2", normalized=True)
    factors = {"pbr": {"baseColorFactor": [0.5, 1, 1, 1]}, "emissiveFactor": [0, 0.25, 2]}
    model = textured(glb, tmp_path, (0.25, 0.75), factors, COLOR_0=colors)
    where = np.vstack((CORNERS, [0.5, 0.5, 0]))
    truth = [[0.5, 0.25, 1], [0, 0.25, 1], [0.5, 0.25, 1], [0.25, 0.25, 1]]
    np.testing.assert_allclose(model.surface_colors(np.zeros(4, np.int64), where), truth, atol=1e-6)


@pytest.mark.parametrize(
    ("material", "uv", "visible"),
    [
        ({}, (0.75, 0.75), True),
        ({"alphaMode": "MASK"}, (0.75, 0.75), False),
        ({"alphaMode": "MASK"}, (0.25, 0.25), True),
        ({"alphaMode": "MASK", "alphaCutoff": 0.0}, (0.75, 0.75), True),
        ({"alphaMode": "BLEND", "pbr": {"baseColorFactor": [1, 1, 1, 0.05]}}, (0.25, 0.25), False),
        ({"alphaMode": "BLEND", "pbr": {"baseColorFactor": [1, 1, 1, 0.2]}}, (0.25, 0.25), True),
    ],
)
def test_what_is_transparent_is_not_visible(glb, tmp_path, material, uv, visible):
    model = textured(glb, tmp_path, uv, dict(material))
    assert model.visible(np.array([0]), CORNERS[:1]).tolist() == [visible]


def test_a_text_file_with_its_buffer_inside_or_beside(tmp_path):
    content = np.array(TRIANGLE, "<f4").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
    }
    (tmp_path / "a b.bin").write_bytes(content)
    inside = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    for uri in (inside, "a%20b.bin"):
        document["buffers"] = [{"uri": uri, "byteLength": 36}]
        (tmp_path / "m.gltf").write_text(json.dumps(document))
        np.testing.assert_array_equal(read_gltf(tmp_path / "m.gltf").vertices_at(None, 0.0), TRIANGLE)
    for uri in ("missing.bin", "../outside.bin"):
        document["buffers"] = [{"uri": uri, "byteLength": 36}]
        (tmp_path / "m.gltf").write_text(json.dumps(document))
        with pytest.raises(ValueError, match=rf"m\.gltf .*{uri}"):
            read_gltf(tmp_path / "m.gltf")


def skin(glb, joint):
    """A skin of one joint, and a vertex that follows another."""
    joints, weights = glb.add([[0, 0, 0, 0]] * 2 + [[joint, 0, 0, 0]], "i1"), glb.add([[1, 0, 0, 0]] * 3)
    glb.json["meshes"][0]["primitives"][0]["attributes"] |= {"JOINTS_0": joints, "WEIGHTS_0": weights}
    glb.json["skins"] = [{"joints": [0]}]
    glb.json["nodes"][0]["skin"] = 0


def _accessor(glb, **changes):
    glb.json["accessors"][0].update(changes)


BREAKS = {
    "bytes": lambda glb: _accessor(glb, count=4),
    "below 1": lambda glb: glb.json["nodes"][0].update(mesh=1),
    "vertices": lambda glb: _accessor(glb, count=30_000_000),
    "longer than the file": lambda glb: glb.json["accessors"].__setitem__(
        0, {"componentType": 5126, "count": 10**6, "type": "VEC3"}
    ),
    "KHR_draco_mesh_compression": lambda glb: glb.json.update(extensionsRequired=["KHR_draco_mesh_compression"]),
    "EXT_meshopt_compression": lambda glb: glb.json.update(extensionsRequired=["EXT_meshopt_compression"]),
    "KHR_mesh_quantization": lambda glb: glb.json.update(extensionsRequired=["KHR_mesh_quantization"]),
    "finite": lambda glb: glb.json["nodes"][0].update(scale=[1e300, 1, 1]),
    "triangles": lambda glb: glb.json["meshes"][0]["primitives"][0].update(mode=1),
    "cycle": lambda glb: glb.json["nodes"].extend([{"children": [2]}, {"children": [1]}]),
    "one parent": lambda glb: glb.json["nodes"].extend([{"children": [0]}, {"children": [0]}]),
    "KeyError": lambda glb: glb.json["meshes"][0].pop("primitives"),
    "TypeError": lambda glb: _accessor(glb, count="3"),
    "a buffer view|buffer view 0": lambda glb: glb.json["bufferViews"][0].update(byteLength=10**9),
    "stride|apart": lambda glb: glb.json["bufferViews"][0].update(byteStride=-12),
    "material": lambda glb: glb.json["meshes"][0]["primitives"][0].update(material=3),
    "indices": lambda glb: glb.json["meshes"][0]["primitives"][0].update(indices=glb.add([0, 1, 3], "u1")),
    "-1 to 2": lambda glb: glb.json["meshes"][0]["primitives"][0].update(indices=glb.add([0, 2, -1], "i1")),
    "0 to 1": lambda glb: skin(glb, 1),
    "-1 to 0": lambda glb: skin(glb, -1),
    "glTF 2.0": lambda glb: glb.json["asset"].update(version="1.0"),
    "key times": lambda glb: animate(glb, "scale", [1, 0], np.ones((2, 3))),
    "values for its": lambda glb: animate(glb, "weights", [0, 1], [1]),
    "image 0": lambda glb: glb.json.update(
        images=[{"bufferView": 0}], textures=[{"source": 0}], materials=[{"emissiveTexture": {"index": 0}}]
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", BREAKS)
def test_broken_files_are_named(glb, tmp_path, reason):
    add_mesh(glb)
    BREAKS[reason](glb)
    with pytest.raises(
        ValueError, match=rf"m\.glb must .*({reason})|({reason}).* of .*m\.glb must .*|m\.glb .*{reason}"
    ):
        read_gltf(glb.write(tmp_path / "m.glb"))


def test_a_nan_in_the_buffer(glb, tmp_path):
    add_mesh(glb, points=[*TRIANGLE[:2], [0, np.nan, 0]])
    with pytest.raises(ValueError, match=r"m\.glb must be finite"):
        read_gltf(glb.write(tmp_path / "m.glb"))


def test_truncated_files(glb, tmp_path):
    add_mesh(glb)
    content = glb.write(tmp_path / "m.glb").read_bytes()
    for length in range(len(content)):
        (tmp_path / "m.glb").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"m\.glb must"):
            read_gltf(tmp_path / "m.glb")


STATIC = ("Kenney_models__hatchback", "Quaternius_Ultimate_Fantasy_RTS__Mine", "Quaternius_Ships_Pack__CruiseShip")


@pytest.mark.parametrize("name", STATIC)
def test_real_models_lie_where_trimesh_puts_them(data_dir, name):
    path = data_dir / "creatures" / "static" / f"{name}.glb"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    model, truth = read_gltf(path), trimesh.load(path, process=False).to_geometry()
    assert len(model.faces) == len(truth.faces)
    vertices = model.vertices_at(None, 0.0)
    size = np.ptp(truth.bounds, 0).max()
    np.testing.assert_allclose([vertices.min(0), vertices.max(0)], truth.bounds, atol=1e-6 * size)
    area = np.linalg.norm(np.cross(*np.diff(vertices[model.faces], axis=1).swapaxes(0, 1)), axis=1).sum() / 2
    np.testing.assert_allclose(area, truth.area, rtol=1e-4)


def test_real_skinned_models(data_dir):
    """Triangle counts of trimesh, and a skin that holds together: edges keep their length over the clips."""
    files = sorted((data_dir / "creatures").glob("Quaternius_Ultimate_Animated_Animals__*.glb"))[:3]
    if not files:
        pytest.skip(f"needs {data_dir / 'creatures'}")
    for path in files:
        model = read_gltf(path)
        assert len(model.faces) == len(trimesh.load(path, process=False).to_geometry().faces)
        rest = np.linalg.norm(np.diff(model.vertices_at(None, 0.0)[model.faces], axis=1), axis=-1)
        for clip, entry in enumerate(model.clips):
            for vertices in model.vertices_over(clip, np.linspace(0, entry.seconds, 3)):
                length = np.linalg.norm(np.diff(vertices[model.faces], axis=1), axis=-1)
                assert 0.8 < np.median(length / rest.clip(1e-9)) < 1.25
