"""An animated mesh as binary glTF with a skeleton: joints that turn and move, and weights of the vertices.

Players turn and move the joints evenly from one time to the next, so that limbs keep their volume, and programs such as
Blender can edit the skeleton, its animation and its weights.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.export.glb import GlbFile
from ds4d.export.mesh.animated_glb import describe_surface
from ds4d.export.mesh.bones import Bones
from ds4d.export.mesh.joints import Joints, place_joints
from ds4d.export.mesh.texture import Texture
from ds4d.geometry import matrices_to_quats
from ds4d.io import read_gltf

_ROOT = 1  # node of the joint at the origin that stands still; those of the bones follow
_FULL = 65535  # the integer that stands for the weight 1


@dataclass(frozen=True)
class SkinningError:
    """How far a skeleton moves the vertices away from where they were free to move.

    Attributes:
        bones: number of bones.
        mean: mean distance over all vertices and times, as a fraction of the diagonal of the object's bounding box.
        largest: largest distance, as the same fraction.
    """

    bones: int
    mean: float
    largest: float


def write_skinned_glb(
    path: str | Path,
    rest: Float[Tensor, "P 3"],
    vertices: Float[Tensor, "T P 3"],
    bones: Bones,
    triangles: Int[Tensor, "F 3"],
    colors: Float[Tensor, "P 3"],
    seconds: Float[Tensor, " T"],
    texture: Texture | None = None,
) -> None:
    """Writes a mesh that bones move, atomically; the file states the error as `extras` of its skin.

    Args:
        path: the file (.glb).
        rest: vertices of the rest shape, +y up.
        vertices: vertices at each time, from which the bones were found.
        bones: bones and weights of the vertices.
        triangles: vertex indices of each triangle, counter-clockwise seen from outside.
        colors: sRGB colors of the vertices, in [0, 1].
        seconds: time of each pose in the animation, seconds, rising from 0.
        texture: texture in place of the colors of the vertices.

    Raises:
        ValueError: a vertex is NaN or infinite.
    """
    if not (vertices.isfinite().all() and rest.isfinite().all()):
        raise ValueError(f"write_skinned_glb: vertices of {path} must be finite, got NaN or infinite values.")
    rest = rest.double()
    distances = (bones.skin(rest) - vertices).norm(dim=-1) / (rest.amax(0) - rest.amin(0)).norm()
    count = bones.rotations.shape[1]
    error = SkinningError(count, float(distances.mean()), float(distances.max()))
    joints = place_joints(bones, rest)
    rows = torch.arange(len(rest)) if texture is None else texture.origins
    file = GlbFile()
    content = describe_surface(file, rest[rows].numpy().astype(np.float32), triangles, colors, texture)
    weights = _quantized(bones.weights[rows])
    influences = np.where(weights > 0, bones.influences[rows].numpy() + 1, 0)  # the first joint is the root
    attributes = content["meshes"][0]["primitives"][0]["attributes"]
    attributes["JOINTS_0"] = file.add(influences.astype(np.uint8), "attribute")
    attributes["WEIGHTS_0"] = file.add(weights, "attribute", normalized=True)
    content["nodes"][0]["skin"] = 0
    content["nodes"] += _nodes(joints)
    content["scenes"][0]["nodes"].append(_ROOT)
    content["skins"] = [
        {
            "joints": [_ROOT + index for index in range(count + 1)],
            "skeleton": _ROOT,
            "inverseBindMatrices": file.add(_inverse_binds(joints)),
            "extras": asdict(error),
        }
    ]
    content["animations"] = [_animation(file, bones, joints, seconds)]
    file.write(path, content)


def read_skinning_error(path: str | Path) -> SkinningError:
    """The error that a file of `write_skinned_glb` states."""
    return SkinningError(**read_gltf(path).document.items("skins")[0]["extras"])


def _quantized(weights: Float[Tensor, "P 4"]) -> np.ndarray:
    """Weights as integers with the sum that stands for 1; the first, largest ones are rounded to get there."""
    integers = np.rint(_FULL * weights.numpy()).astype(np.int64)
    integers[:, 0] += _FULL - integers.sum(1)
    return integers.astype(np.uint16)


def _nodes(joints: Joints) -> list[dict[str, Any]]:
    """The root and the joints of all bones, at rest."""
    parents, positions = joints.parents.tolist(), joints.positions.numpy()
    nodes: list[dict[str, Any]] = [{"name": "root"}]
    digits = math.ceil(math.log10(len(parents) + 1))
    for bone, parent in enumerate(parents):
        offset = positions[bone] - (positions[parent] if parent >= 0 else 0)
        nodes.append({"name": f"bone{bone + 1:0{digits}d}", "translation": offset.tolist()})
    for bone, parent in enumerate(parents):
        nodes[parent + 1].setdefault("children", []).append(_ROOT + 1 + bone)
    return nodes


def _inverse_binds(joints: Joints) -> Float[np.ndarray, "J 16"]:
    """The matrices, column by column, that take the rest shape to where each joint is the origin."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints.parents) + 1, 1, 1))
    matrices[1:, 3, :3] = -joints.positions.numpy()
    return matrices.reshape(-1, 16)


def _animation(file: GlbFile, bones: Bones, joints: Joints, seconds: Float[Tensor, " T"]) -> dict[str, Any]:
    """Rotations and translations of all joints relative to their parents."""
    places = (bones.rotations @ joints.positions[:, :, None])[..., 0] + bones.translations
    times = file.add(seconds.cpu().numpy().astype(np.float32)[:, None], bounds=True)
    samplers, channels = [], []
    for bone, parent in enumerate(joints.parents.tolist()):
        rotations, offsets = bones.rotations[:, bone], places[:, bone]
        if parent >= 0:
            back = bones.rotations[:, parent].mT
            rotations, offsets = back @ rotations, (back @ (offsets - places[:, parent])[..., None])[..., 0]
        for part, values in (("rotation", _turns(rotations)), ("translation", offsets)):
            output = file.add(values.numpy().astype(np.float32))
            channels.append({"sampler": len(samplers), "target": {"node": _ROOT + 1 + bone, "path": part}})
            samplers.append({"input": times, "output": output, "interpolation": "LINEAR"})
    return {"name": "motion", "samplers": samplers, "channels": channels}


def _turns(rotations: Float[Tensor, "T 3 3"]) -> Float[Tensor, "T 4"]:
    """Unit quaternions (x, y, z, w), each on the side of the one before: players take the short way."""
    quats = matrices_to_quats(rotations).roll(-1, 1)
    flips = torch.where((quats[1:] * quats[:-1]).sum(1) < 0, -1.0, 1.0).cumprod(0)
    return torch.cat((quats[:1], quats[1:] * flips[:, None]))
