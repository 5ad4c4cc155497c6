"""Results to be scored: runs of ds4d, and what other programs have written.

One object's result is a run, a folder of images or videos per view, a folder with one 3D file per frame, or an animated
glTF file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ds4d.data import TransformsFrame
from ds4d.evaluation.scoring import render_frames
from ds4d.evaluation.truths import Truth, image_folder, read_images, read_video, videos_in
from ds4d.geometry import inverse_similarity, transform_points
from ds4d.io import IMAGE_SUFFIXES, GltfModel, natural_key, read_gltf
from ds4d.rendering import render_mesh, renderer_for
from ds4d.scene import Scene, read_baked_scene, windows_file
from ds4d.shapes import read_ply, read_splat
from ds4d.shapes.point_files import read_points
from ds4d.types import Cameras, RawGaussians

GLTF, GAUSSIANS, MESHES = (".glb", ".gltf"), (".ply", ".splat"), (".obj",)
_SHAPES = (*GLTF, *GAUSSIANS, *MESHES)
_SURFACE_POINTS = 100_000  # of a mesh: ActionBench's
_SOLID = 0.5  # mean opacity of the Gaussians whose centers count as points of the surface
_HEADER_BYTES = 16_384


@dataclass(frozen=True)
class MovingPoints:
    """Points of each frame.

    Attributes:
        frames: points of each frame.
        tracked: whether row i is the same material point in all frames.
    """

    frames: Sequence[Float[np.ndarray, "N 3"]]
    tracked: bool


class Candidate:
    """The result for one object.

    Args:
        path: run, folder, or animated glTF file; for messages alone if a scene is given.
        device: device to render on.
        scene: a fitted scene in place of what is at the path, on that device.

    Raises:
        ValueError: there is nothing at the path.
    """

    def __init__(self, path: Path, device: torch.device, scene: Scene | None = None) -> None:
        if not path.exists():
            raise ValueError(f"{path} must be the result for this object, got nothing there.")
        self.path, self.device = path, device
        found = any(file.is_file() for file in (path / "config.json", path / "scene.json", windows_file(path)))
        self.is_run = scene is not None or found
        self._scene = scene

    @property
    def scene(self) -> Scene:
        """The frames of the run."""
        if self._scene is None:
            self._scene = read_baked_scene(self.path, self.device)
        return self._scene

    def frames(self, truth: Truth, view: str, count: int) -> UInt8[np.ndarray, "T H W 4"]:
        """The first frames of one view, straight alpha.

        Args:
            truth: the object, whose cameras and times are rendered where the result is a scene.
            view: name of the view.
            count: number of frames.

        Raises:
            ValueError: images are missing or damaged, or the result is a scene and the truth has no cameras.
        """
        cameras = list(truth.cameras.get(view, ()))[:count]
        if self.is_run:
            if not cameras:
                raise ValueError(
                    f"{self.path} is a run, which needs the cameras of the truth, and {truth.name} has none. Render it "
                    "with ds4d render and give the folder of images."
                )
            return np.stack(list(render_frames(self.scene, renderer_for(self.device), cameras)))
        named = [path for frame in cameras if (path := self._image_of(frame)) is not None]
        if named and len(named) == len(cameras):
            return read_images(named, str(self.path))
        if named:
            raise ValueError(
                f"{self.path} must hold an image for each of the {len(cameras)} frames of {view}, got {len(named)}. "
                "Render all frames, or compare fewer with --frames."
            )
        if (folder := self.path / view).is_dir():
            return read_images(image_folder(folder)[:count], str(folder))
        videos = [path for path in videos_in(self.path) if path.stem == view]
        if videos:
            return read_video(videos[0])[:count]
        files = self._shape_files()
        if not files:
            raise ValueError(f"{self.path} must hold the view {view} as a folder of images or a video, got neither.")
        is_gltf = files[0].suffix.lower() in GLTF
        if not cameras or not (is_gltf or _is_gaussians(files[0])):
            raise ValueError(
                f"{files[0]} must be of Gaussians, GLB or glTF, and the truth have cameras, to be rendered here. "
                "Render it with the program that made it, and give a folder of images per view."
            )
        return self._rendered_meshes(files, cameras) if is_gltf else self._rendered(files, cameras)

    def points(self, count: int, total: int) -> MovingPoints:
        """Surface points of the first frames, in the world of the files.

        Args:
            count: number of frames.
            total: number of frames of the whole clip, at whose times scenes with a time axis are evaluated.

        Raises:
            ValueError: the result has no shapes, or fewer frames.
        """
        times = np.linspace(0, 1, total)[:count]
        if self.is_run:
            return self._points_of_run(times)
        files = self._shape_files()
        if len(files) == 1 and files[0].suffix.lower() in GLTF and total > 1:
            return _points_of_animation(files[0], times)
        if len(files) < count:
            raise ValueError(
                f"{self.path} must hold one 3D file per frame ({', '.join(_SHAPES)}) or an animated glTF file, got "
                f"{len(files)} for {count} frames. Export all frames, or compare fewer with --frames."
            )
        return _points_of_files(files[:count])

    def _image_of(self, frame: TransformsFrame) -> Path | None:
        """The image that `ds4d render --transforms` writes for a frame."""
        base = self.path / frame.file_path
        if base.suffix.lower() in IMAGE_SUFFIXES and base.is_file():
            return base
        return next((path for s in sorted(IMAGE_SUFFIXES) if (path := base.with_name(base.name + s)).is_file()), None)

    def _shape_files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path] if self.path.suffix.lower() in _SHAPES else []
        found = [path for path in self.path.iterdir() if path.suffix.lower() in _SHAPES and path.name[0] != "."]
        suffixes = sorted({path.suffix.lower() for path in found})
        if len(suffixes) > 1:
            raise ValueError(
                f"{self.path} must hold 3D files of one format, got {', '.join(suffixes)}. Move the others."
            )
        return sorted(found, key=natural_key)

    def _rendered(self, files: Sequence[Path], cameras: Sequence[TransformsFrame]) -> UInt8[np.ndarray, "T H W 4"]:
        """Gaussians of one file per frame, rendered at the cameras of the frames."""
        if len(files) < len(cameras):
            raise ValueError(
                f"{self.path} must hold one file per frame, got {len(files)} for {len(cameras)}. Export all frames, or "
                "compare fewer with --frames."
            )
        renderer, images = renderer_for(self.device), []
        for (width, height), alike in groupby(zip(files, cameras, strict=False), lambda pair: _size(pair[1])):
            for path, frame in alike:
                gaussians = _with_time(_read_gaussians(path)).activate().to(self.device)
                one = Cameras(frame.viewmat[None, None], frame.K[None, None], width, height).to(self.device)
                with torch.no_grad():
                    rendering = renderer.render(gaussians, one)
                straight = rendering.colors / rendering.alphas.clamp_min(1e-8)
                rgba = torch.cat((straight, rendering.alphas), dim=2)[0, 0].clamp(0, 1)
                images.append((rgba * 255).round().byte().movedim(0, -1).cpu().numpy())
        return np.stack(images)

    def _rendered_meshes(
        self, files: Sequence[Path], cameras: Sequence[TransformsFrame]
    ) -> UInt8[np.ndarray, "T H W 4"]:
        """Meshes of one file per frame, or one animated mesh, rendered at the cameras of the frames."""
        if len(files) == 1 and len(cameras) > 1:
            model = _animated(files[0])
            seconds = np.array([frame.time for frame in cameras]) * model.clips[0].seconds
            moved = zip([model] * len(cameras), model.vertices_over(0, seconds), strict=True)
        elif len(files) < len(cameras):
            raise ValueError(
                f"{self.path} must hold one file per frame or an animated glTF file, got {len(files)} for "
                f"{len(cameras)}. Export all frames, or compare fewer with --frames."
            )
        else:
            models = (read_gltf(path) for path in files[: len(cameras)])
            moved = ((model, model.vertices_at(None, 0.0)) for model in models)
        images = [
            render_mesh(model, vertices, frame.viewmat.numpy(), frame.K.numpy(), *_size(frame))
            for (model, vertices), frame in zip(moved, cameras, strict=True)
        ]
        return np.stack(images)

    def _points_of_run(self, times: Float[np.ndarray, " T"]) -> MovingPoints:
        """Centers of the Gaussians that are solid on average."""
        scene = self.scene
        with torch.no_grad():
            raw = scene.raw_at(torch.from_numpy(times).float().to(self.device))
        solid = raw.opacity_logits.sigmoid().mean(0) >= _SOLID
        if not solid.any():
            raise ValueError(f"{self.path} must have solid Gaussians, got none with a mean opacity of {_SOLID}.")
        world = transform_points(inverse_similarity(scene.world), raw.means[:, solid].cpu())
        return MovingPoints(list(world.double().numpy()), tracked=True)


def _size(frame: TransformsFrame) -> tuple[int, int]:
    return frame.width, frame.height


def _with_time(raw: RawGaussians) -> RawGaussians:
    return RawGaussians(raw.means[None], raw.quats[None], raw.log_scales[None], raw.opacity_logits[None], raw.sh)


def _is_gaussians(path: Path) -> bool:
    if path.suffix.lower() == ".splat":
        return True
    with path.open("rb") as file:
        return path.suffix.lower() == ".ply" and b" f_dc_0" in file.read(_HEADER_BYTES).partition(b"end_header")[0]


def _read_gaussians(path: Path) -> RawGaussians:
    return read_splat(path) if path.suffix.lower() == ".splat" else read_ply(path)


def _points_of_files(files: Sequence[Path]) -> MovingPoints:
    """Centers of Gaussians, points of a point cloud, or points on a mesh.

    Rows keep their identity where all files have the same number of Gaussians, or all meshes the same triangles.
    """
    if _is_gaussians(files[0]):
        raw = [_read_gaussians(path) for path in files]
        tracked = len({each.num_gaussians for each in raw}) == 1
        solid = [each.opacity_logits.sigmoid() >= _SOLID for each in raw]
        if tracked:
            solid = [torch.stack([each.opacity_logits.sigmoid() for each in raw]).mean(0) >= _SOLID] * len(raw)
        points = [each.means[rows].double().numpy() for each, rows in zip(raw, solid, strict=True)]
        if not all(len(each) for each in points):
            raise ValueError(f"{files[0].parent} must hold solid Gaussians, got a frame without any.")
        return MovingPoints(points, tracked)
    if files[0].suffix.lower() not in GLTF:
        clouds = [read_points(path, _SURFACE_POINTS, torch.Generator().manual_seed(44))[0] for path in files]
        return MovingPoints([cloud.double().numpy() for cloud in clouds], tracked=False)
    models = [read_gltf(path) for path in files]
    meshes = [(model.vertices_at(None, 0.0).astype(np.float64), model.faces) for model in models]
    first_vertices, first_faces = meshes[0]
    tracked = all(len(v) == len(first_vertices) and np.array_equal(f, first_faces) for v, f in meshes)
    if tracked:
        where = _places(first_vertices, first_faces)
        return MovingPoints([_at(vertices, first_faces, where) for vertices, _ in meshes], tracked=True)
    return MovingPoints([_at(v, f, _places(v, f)) for v, f in meshes], tracked=False)


def _points_of_animation(path: Path, times: Float[np.ndarray, " T"]) -> MovingPoints:
    """Points on an animated mesh at times of its first clip, in [0, 1]."""
    model = _animated(path)
    vertices = model.vertices_over(0, times * model.clips[0].seconds).astype(np.float64)
    where = _places(vertices[0], model.faces)
    return MovingPoints([_at(frame, model.faces, where) for frame in vertices], tracked=True)


def _animated(path: Path) -> GltfModel:
    model = read_gltf(path)
    if not model.clips:
        raise ValueError(f"{path} must have an animation, got none. Export it with one, or give one file per frame.")
    return model


Places = tuple[np.ndarray, np.ndarray]  # triangle and barycentric coordinates of each point


def _places(vertices: np.ndarray, faces: np.ndarray) -> Places:
    """Points on a mesh, uniform by area."""
    random = np.random.RandomState(44)
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        raise ValueError("a mesh must have a surface, got triangles without area. Export it again.")
    chosen = random.choice(len(faces), _SURFACE_POINTS, p=areas / areas.sum())
    root, along = np.sqrt(random.rand(_SURFACE_POINTS)), random.rand(_SURFACE_POINTS)
    return chosen, np.stack((1 - root, root * (1 - along), root * along), axis=1)


def _at(vertices: np.ndarray, faces: np.ndarray, places: Places) -> np.ndarray:
    chosen, barycentric = places
    return np.einsum("pc,pcd->pd", barycentric, vertices[faces[chosen]])
