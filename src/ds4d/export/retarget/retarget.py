"""The motion of a run carried over to a mesh in a file."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import Warned, notify, tracked
from ds4d.export.mesh.skinning import deform_vertices
from ds4d.export.retarget.alignment import Alignment, align_surface
from ds4d.export.retarget.moving_glb import write_moving_glb
from ds4d.geometry import UpAxis, inverse_similarity, set_up_axis, transform_points
from ds4d.io import GltfModel, read_gltf
from ds4d.scene import Scene
from ds4d.shapes import read_meshes
from ds4d.types import Similarity

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply")

_POSES = 8  # of the run, compared with the mesh
_POINTS = 3000
_OPAQUE = 0.5  # opacity of the Gaussians that are on the surface
_FAR = 0.05  # of the diameter: beyond, the shapes differ


@torch.no_grad()
def animate_model(
    scene: Scene,
    model: GltfModel,
    path: str | Path,
    times: Float[Tensor, " T"],
    *,
    pose_time: float | None = None,
    yaw_deg: float | None = None,
    up: UpAxis = "y",
    seed: int = 0,
) -> Alignment:
    """Writes a mesh that moves like the object of a scene, atomically.

    The mesh is aligned with the object at the time at which their poses are most alike; from there, each vertex
    follows the Gaussians nearest to it. It keeps its place, size, materials and textures, and its shape at rest.

    Args:
        scene: the scene that moves.
        model: the mesh, from `read_model`. Its own animations are not played.
        path: the file to write (.glb).
        times: times of the motion, in [0, 1], rising. They are played at the speed of the video.
        pose_time: time at which the object has the pose of the mesh, in [0, 1]; None finds it.
        yaw_deg: turn of the mesh about the vertical axis until it faces the front, degrees; None finds it.
        up: up axis of the mesh. The file that is written is y up, as all glTF is.
        seed: seed of the points that are compared.

    Returns:
        The alignment.

    Raises:
        ValueError: the mesh has no surface.
    """
    generator = torch.Generator().manual_seed(seed)
    upright = transform_points(set_up_axis(Similarity.identity(), up), torch.from_numpy(model.vertices_at(None, 0.0)))
    faces = torch.from_numpy(model.faces.astype(np.int64))
    surface = _sample(upright, faces, generator, model.document.path)
    candidates = _pose_times(scene, pose_time)
    poses = [_opaque_centers(scene, time, generator) for time in tracked(candidates.split(1), "evaluating the poses")]
    alignment = align_surface(surface, poses, candidates.tolist(), yaw_deg)
    if alignment.distance > _FAR:
        message = (
            f"The mesh lies {100 * alignment.distance:.0f} % of the object's size off the run's object in the median: "
            "shapes or poses differ. Give --pose-time and --yaw, or a mesh in a pose of the run."
        )
        notify(Warned("registration", message))
    rest = scene.raw_at(torch.tensor([alignment.time], device=scene.device)).at_time(0).to("cpu")
    # Vertices in one place must stay together, whatever their texture coordinates.
    places, groups = np.unique(upright.numpy(), axis=0, return_inverse=True)
    groups = torch.from_numpy(groups.reshape(-1))
    inner = transform_points(alignment.similarity, torch.from_numpy(places))
    moved = deform_vertices(inner, groups[faces], rest, scene, times)
    positions = transform_points(inverse_similarity(alignment.similarity), moved)[:, groups]
    seconds = ((times - times[0]) * scene.timeline.duration).numpy().astype(np.float32)
    write_moving_glb(path, model, upright.numpy(), positions.numpy(), seconds)
    return alignment


def read_model(path: Path) -> GltfModel:
    """The mesh in a file, as a glTF model.

    Raises:
        ValueError: the file is missing, of another kind, damaged or without triangles.
    """
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise ValueError(f"mesh {path} must be one of {', '.join(MESH_SUFFIXES)}, got {suffix!r}. Convert it to one.")
    if not path.is_file():
        raise ValueError(f"mesh {path} must be a file, got nothing there. Check the path.")
    if suffix in (".glb", ".gltf"):
        return read_gltf(path)
    from trimesh import Scene as Meshes

    with tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
        converted = Path(folder) / "mesh.glb"
        meshes = read_meshes(path)
        try:
            converted.write_bytes(Meshes(meshes).export(file_type="glb"))
        except (ValueError, TypeError, IndexError, KeyError) as error:  # trimesh checks neither colors nor materials
            raise ValueError(f"mesh {path} must have valid colors, got {error!r}. Export it again.") from error
        return read_gltf(converted)


def _pose_times(scene: Scene, pose_time: float | None) -> Float[Tensor, " C"]:
    if pose_time is not None:
        return torch.tensor([pose_time])
    times = torch.tensor(scene.timeline.times)
    return times[torch.linspace(0, len(times) - 1, min(_POSES, len(times))).round().long()]


def _opaque_centers(scene: Scene, time: Float[Tensor, " 1"], generator: torch.Generator) -> Float[Tensor, "P 3"]:
    raw = scene.raw_at(time.to(scene.device)).at_time(0).to("cpu")
    centers = raw.means[raw.opacity_logits.sigmoid() > _OPAQUE]
    if len(centers) < 4:
        centers = raw.means
    return centers[torch.randperm(len(centers), generator=generator)[:_POINTS]]


def _sample(
    vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], generator: torch.Generator, path: Path
) -> Float[Tensor, "P 3"]:
    """Points on the triangles, uniform by area."""
    first, second, third = (vertices[faces[:, i]] for i in range(3))
    areas = (second - first).cross(third - first, dim=-1).norm(dim=-1).double()
    if not areas.sum() > 0:
        raise ValueError(f"mesh {path} must have a surface, got triangles without area. Export it again.")
    edges = areas.cumsum(0)
    where = torch.rand(_POINTS, generator=generator, dtype=torch.float64) * edges[-1]
    chosen = torch.searchsorted(edges, where, right=True).clamp_max(len(edges) - 1)
    across, along = torch.rand(2, _POINTS, generator=generator)
    root = across.sqrt()[:, None]
    along = along[:, None]
    return (1 - root) * first[chosen] + root * (1 - along) * second[chosen] + root * along * third[chosen]
