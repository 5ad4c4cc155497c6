"""The export of a scene as an animated mesh."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ds4d.export.mesh.animated_glb import write_animated_glb
from ds4d.export.mesh.animated_mesh import RESOLUTION, animate_mesh
from ds4d.export.mesh.bones import check_bone_count, find_bones
from ds4d.export.mesh.skinned_glb import write_skinned_glb
from ds4d.geometry import UpAxis, inverse_similarity, set_up_axis, transform_points
from ds4d.rendering import renderer_for
from ds4d.scene import Scene


def write_mesh(
    scene: Scene,
    path: str | Path,
    times: Float[Tensor, " T"],
    *,
    up: UpAxis | None = "y",
    resolution: int = RESOLUTION,
    texture: int | None = None,
    skeleton: int | None = None,
) -> None:
    """Writes a scene as an animated mesh, atomically.

    Args:
        scene: the scene to write.
        path: the file (.glb).
        times: times of the animation's keys, in [0, 1], rising. They are played at the speed of the video.
        up: up axis of the output world; None keeps that of the input.
        resolution: number of grid cells along the object, in [8, 512].
        texture: height and width of a texture in pixels, in [64, 8192]; None for colors of vertices.
        skeleton: number of bones that move the mesh, in [1, 64]; None for morph targets, one for each time.

    Raises:
        ValueError: the resolution, the texture or the skeleton is out of range, a skeleton has only one time to move
            to, or the Gaussians cover nothing.
        ImportError: there shall be a texture and xatlas is not installed.
    """
    if skeleton is not None:
        check_bone_count(skeleton)
        if len(times) < 2:
            raise ValueError(f"times must be at least two for a skeleton, which is found by motion, got {len(times)}.")
    mesh = animate_mesh(scene, renderer_for(scene.device), times, resolution, texture)
    to_output = inverse_similarity(set_up_axis(scene.world, up))
    seconds = (mesh.times - mesh.times[0]) * scene.timeline.duration
    vertices = transform_points(to_output, mesh.vertices)
    if skeleton is None:
        write_animated_glb(path, vertices, mesh.triangles, mesh.colors, seconds, mesh.texture)
    else:
        rest = transform_points(to_output, mesh.rest)
        bones = find_bones(rest, vertices, mesh.triangles, skeleton)
        write_skinned_glb(path, rest, vertices, bones, mesh.triangles, mesh.colors, seconds, mesh.texture)
