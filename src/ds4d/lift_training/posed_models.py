"""Animated models as normalized poses and colored surface samples, which training renders from any side."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float16, Float32, Float64, Int, Int32, Int64, UInt8

from ds4d.core import tracked
from ds4d.io import GltfModel, read_gltf, to_srgb
from ds4d.lift_training.rig_variations import RigVariationSettings, random_variation

NO_VARIATIONS = RigVariationSettings(chance=0.0)

Item = TypeVar("Item")
Made = TypeVar("Made")

_SUFFIXES = {".glb", ".gltf"}
_FRAMING_TIMES = 16  # of a clip, which its center and size are taken from
_FARTHEST = 1.5  # a vertex beyond this left the frame between these times: a broken key
_POSES_OF_A_CHARACTER = 3
_MOST_DRAWS = 16  # times the samples asked for, where most of the surface is transparent
_STEPS = 2048  # per unit; float16 holds all multiples of 1 / 2048 up to 1
# The plastic number's powers: the sequence with the most even gaps in two dimensions.
_R2 = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True)
class PosedModel:
    """A model in several poses, with samples spread evenly over its surface.

    Attributes:
        name: of its file.
        vertices: of each pose, y up; the clip that the pose comes from is centered at the origin and has radius 1.
        faces: vertices of each triangle; every vertex is used.
        sample_faces: the face of each sample, in increasing order.
        sample_barycentric: weights of the first two corners of that face; the third is 1 minus their sum.
        sample_colors: albedo in sRGB.
    """

    name: str
    vertices: Float16[np.ndarray, "P V 3"]
    faces: Int32[np.ndarray, "F 3"]
    sample_faces: Int32[np.ndarray, "S"]
    sample_barycentric: Float16[np.ndarray, "S 2"]
    sample_colors: UInt8[np.ndarray, "S 3"]


def find_models(folder: str | Path) -> list[Path]:
    """All `.glb` and `.gltf` files in a folder and the folders below it, in order."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def load_models(
    files: Sequence[Path],
    *,
    num_poses: int,
    num_samples: int,
    seed: int,
    variations: RigVariationSettings = NO_VARIATIONS,
    workers: int = 1,
) -> tuple[list[PosedModel], list[tuple[Path, str]]]:
    """Poses many models; those that cannot be used stop nobody.

    Args:
        files: the models.
        num_poses: see `pose_model`, as the next two.
        num_samples: likewise.
        seed: likewise.
        variations: likewise.
        workers: processes to use.

    Returns:
        The models in the order of the files, and the files that cannot be used, each with the reason.

    Raises:
        ValueError: No file can be used.
    """
    load = partial(_try_pose, num_poses=num_poses, num_samples=num_samples, seed=seed, variations=variations)
    models, broken = [], []
    for file, result in zip(files, mapped(load, files, workers, work="reading models"), strict=True):
        if isinstance(result, PosedModel):
            models.append(result)
        else:
            broken.append((file, result))
    if not models:
        first = f"{len(broken)} broken ones, first: {broken[0][1]}" if broken else "no files"
        raise ValueError(f"models must hold one that can be read, got {first}. Give a folder with .glb files.")
    return models, broken


def pose_model(
    path: str | Path,
    *,
    num_poses: int,
    num_samples: int,
    seed: int,
    variations: RigVariationSettings = NO_VARIATIONS,
) -> PosedModel:
    """Reads a model, and takes poses from its clips and samples from its surface.

    Times are evenly spaced in each clip, from a random start; every clip has a pose if there are enough, and longer
    clips have more. A model without clips has one pose.

    Args:
        path: a `.glb` or `.gltf` file.
        num_poses: number of poses; those that are not finite, have no size, or leave the frame of their clip are
            left out.
        num_samples: number of samples: in proportion to area (the mean over the poses), and none that is transparent.
        seed: of the times and the samples; the same seed gives the same model.
        variations: how the rig is varied; every few poses are of another character.

    Raises:
        ValueError: The file is damaged or not supported, or no pose or no surface is left.
    """
    path = Path(path)
    model = read_gltf(path)
    rng = np.random.default_rng(seed)
    used, faces = np.unique(model.faces, return_inverse=True)
    faces = faces.reshape(-1, 3).astype(np.int32)
    vertices = _poses(model, used, num_poses, variations, rng)
    if not len(vertices):
        raise ValueError(f"poses of {path} must be finite and have a size, got none that is. Export it again.")
    areas = np.mean([_areas(pose, faces) for pose in vertices], 0)
    sample_faces, barycentric = _visible_samples(model, path, areas, num_samples, rng)
    colors = to_srgb(model.surface_colors(sample_faces, barycentric))
    return PosedModel(
        path.stem,
        vertices.astype(np.float16),
        faces,
        sample_faces.astype(np.int32),
        barycentric[:, :2].astype(np.float16),
        np.rint(255 * colors).astype(np.uint8),
    )


def _try_pose(
    path: Path, *, num_poses: int, num_samples: int, seed: int, variations: RigVariationSettings
) -> PosedModel | str:
    """The model, or why there is none."""
    try:
        return pose_model(path, num_poses=num_poses, num_samples=num_samples, seed=seed, variations=variations)
    except (ValueError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__


def mapped(function: Callable[[Item], Made], items: Sequence[Item], workers: int, *, work: str) -> list[Made]:
    """What `function` makes of each item, in order, by this number of processes; progress is reported as `work`."""
    if workers <= 1:
        return [function(item) for item in tracked(items, work)]
    # A fork would inherit the threads' locks of whatever this process has started.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        return list(tracked(pool.map(function, items, chunksize=4), work, len(items)))


def _poses(
    model: GltfModel,
    used: Int[np.ndarray, "V"],
    num_poses: int,
    variations: RigVariationSettings,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "P V 3"]:
    """Normalized poses of the vertices that are used, without the degenerate ones."""
    if not model.clips:
        rest = model.vertices_over(None, np.zeros(1))[:, used]
        return normalized(rest, rest)
    poses = []
    seconds = [clip.seconds for clip in model.clips]
    for clip, count in enumerate(_shares(seconds, num_poses)):
        times = (np.arange(count) + rng.random()) / max(count, 1) * seconds[clip]
        framing = np.linspace(0, seconds[clip], _FRAMING_TIMES)
        characters = max(1, count // _POSES_OF_A_CHARACTER)
        for some in (times[first::characters] for first in range(characters) if count):
            variation = random_variation(model.node_names, model.node_parents, variations, rng)
            shapes = model.vertices_over(clip, np.concatenate((some, framing)), variation)[:, used]
            poses.append(normalized(shapes[: len(some)], shapes[len(some) :]))
    return np.concatenate(poses)


def _shares(seconds: Sequence[float], count: int) -> list[int]:
    """`count` divided among clips in proportion to their duration, after one for each, longest first."""
    shares = [0] * len(seconds)
    for _ in range(count):
        next_one = max(range(len(seconds)), key=lambda clip: (shares[clip] == 0, seconds[clip] / max(shares[clip], 1)))
        shares[next_one] += 1
    return shares


def normalized(
    poses: Float32[np.ndarray, "P V 3"], framing: Float32[np.ndarray, "T V 3"]
) -> Float32[np.ndarray, "Q V 3"]:
    """Poses with the center of their clip at the origin and its radius 1; those that are degenerate are left out."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out
        low, high = (np.array([reduce(framing[..., axis]) for axis in range(3)]) for reduce in (np.min, np.max))
        center = (low + high) / 2
        radius = _distances(framing - center).max()
        if not (np.isfinite(radius) and radius > 0):
            return poses[:0]
        poses = (poses - center) / radius
        sizes = np.linalg.norm(np.ptp(poses, 1), axis=1)
        return poses[(_distances(poses).max(1) <= _FARTHEST) & (sizes > 0)]


def _distances(points: Float32[np.ndarray, "T V 3"]) -> Float32[np.ndarray, "T V"]:
    """From the origin."""
    return np.sqrt(np.einsum("tvc,tvc->tv", points, points))


def sample_faces(
    vertices: Float32[np.ndarray, "P V 3"], faces: Int32[np.ndarray, "F 3"], count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "S"], Float64[np.ndarray, "S 3"]]:
    """Samples of a surface in proportion to its area, the mean over the poses: faces and barycentric coordinates."""
    return _draw(np.mean([_areas(pose, faces) for pose in vertices], 0), count, rng)


def _areas(vertices: Float32[np.ndarray, "V 3"], faces: Int32[np.ndarray, "F 3"]) -> Float32[np.ndarray, "F"]:
    first, second, third = vertices[faces.T]
    return np.linalg.norm(np.cross(second - first, third - first), axis=-1) / 2


def _visible_samples(
    model: GltfModel, path: Path, areas: Float[np.ndarray, "F"], count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "S"], Float64[np.ndarray, "S 3"]]:
    """Samples of what is not transparent: of more draws if necessary, evenly chosen."""
    if not areas.sum() > 0:
        raise ValueError(f"the surface of {path} must have an area, got none. Export it again.")
    faces, barycentric = _draw(areas, count, rng)
    kept = np.flatnonzero(model.visible(faces, barycentric))
    if 0 < len(kept) < count:
        more = min(int(1.1 * count * count / len(kept)), _MOST_DRAWS * count)
        faces, barycentric = _draw(areas, more, rng)
        kept = np.flatnonzero(model.visible(faces, barycentric))
    if not len(kept):
        raise ValueError(f"the surface of {path} must be visible, got transparent materials only. Make them opaque.")
    kept = kept[np.arange(count) * len(kept) // count]
    return faces[kept], barycentric[kept]


def _draw(
    areas: Float[np.ndarray, "F"], count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "S"], Float64[np.ndarray, "S 3"]]:
    """Faces and barycentric coordinates of samples, one in each of `count` equal parts of the area."""
    ends = np.cumsum(areas, dtype=np.float64)
    faces = np.searchsorted(ends, (np.arange(count) + rng.random(count)) / count * ends[-1], "right")
    faces = faces.clip(max=np.flatnonzero(areas)[-1])
    # Consecutive members of the sequence cover a square evenly, and so they do a face, which has consecutive samples.
    square = (rng.random(2) + np.arange(count)[:, None] * _R2) % 1
    first_two = np.where(square.sum(1, keepdims=True) > 1, 1 - square, square)
    first_two = np.floor(first_two * _STEPS) / _STEPS
    return faces, np.concatenate((first_two, 1 - first_two.sum(1, keepdims=True)), 1)
