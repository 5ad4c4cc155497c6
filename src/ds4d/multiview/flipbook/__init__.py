"""Views of a flipbook: one 3D file per frame, made by any other program.

The shapes are aligned with the video and rendered from further views. The fit makes one set of Gaussians of them, which
moves.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from ds4d.core import ArrayList, Warned, check_ranges, notify, to_dict, tracked
from ds4d.geometry import RIGS, color_points, rgb_to_sh, transform_gaussians
from ds4d.io import to_linear
from ds4d.multiview.base import join_views, stag4d_cameras
from ds4d.multiview.flipbook.alignment import Alignment, ShapeAxis, align, color_error, compare
from ds4d.multiview.flipbook.files import files_of_frames, list_files
from ds4d.multiview.shape_views import render_views
from ds4d.shapes import Shape, gaussians_from_points, read_shape
from ds4d.types import Cameras, Gaussians, GeneratedViews, PointCloud, RawGaussians, Video

# Colors as in the file; those of glTF files of programs that store sRGB where linear colors belong; those of the frame.
_Colors = Literal["file", "linear", "frame"]

_VERSION = 1  # changes when the same files and settings give other views
_MESH_POINTS = 40_000
_POINTS = 12_000  # of a shape, to align it
_FINER = 2  # pixels rendered for the width of one
_OPACITY, _SCALE_FACTOR = 0.95, 0.4  # of their Gaussians: the surface is closed and the silhouette hardly larger
_SURFACE_POINTS = 20_000  # of the middle frame, from which Gaussians are initialized
_SOLID = 0.3  # opacity of Gaussians that belong to the surface
_MIN_IOU, _GOOD_IOU = 0.5, 0.7  # shapes of other objects reach 0.4 to 0.65


@dataclass(frozen=True)
class FlipbookConfig:
    """One 3D file per frame, made by another program.

    Attributes:
        files: folder of the 3D files in the order of the frames, or a pattern such as 'shapes/*.ply': Gaussians (PLY,
            splat), meshes or point clouds (GLB, glTF, OBJ, PLY).
        align: find the pose and the size of the shapes by the video; without, they must be in its world already, as
            what ds4d exports.
        up: axis of the files that points up; all are tried if it is left out.
        azimuth: azimuth of the input camera around the shapes, degrees, as on the command line of ds4d render, after
            their up axis is rotated to +y; all are tried if it is left out.
        smoothing: frames over which small corrections of the position and size of each frame are smoothed; 0 for
            programs that center and scale each frame by itself.
    """

    files: Path | None = None
    align: bool = True
    up: ShapeAxis | None = None
    azimuth: float | None = None
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, smoothing="[0, inf)")
        if self.azimuth is not None:
            check_ranges(self, azimuth="[-360, 360]")


class Flipbook:
    """Views rendered from one 3D file per frame.

    Args:
        config: the files and their orientation.
        device: compute device for rendering.

    Raises:
        ValueError: there are no files, or files of several formats.
    """

    Config = FlipbookConfig
    uses_matting_model = False
    uses_tracks = False

    @staticmethod
    def is_usable(config: FlipbookConfig, device: torch.device) -> tuple[bool, str]:
        """Never by itself: only the user knows which files show the video."""
        return False, "flipbook needs files, use --views flipbook --flipbook DIR"

    def __init__(self, config: FlipbookConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.files = list_files(config.files)

    @cached_property
    def identity(self) -> str:
        """See `ViewGenerator`; the content of the files decides, not their names."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        settings = {**to_dict(replace(self.config, files=None)), "files": digest.hexdigest()}
        return json.dumps({"name": "flipbook", "version": _VERSION, **settings})

    def check_files(self) -> None:
        """Reads all files.

        Raises:
            ValueError: a file cannot be used; the message names it.
        """
        for path in tracked(self.files, "checking the flipbook"):
            _read(path)

    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """See `ViewGenerator`; nothing here is random.

        Raises:
            ValueError: a file cannot be used, no frame shows an object, or the shapes do not match the video.
        """
        if not any((video.frames.read(time, 0)[..., 3] > 127).any() for time in range(video.num_times)):
            raise ValueError("the video must show an object for a flipbook to be aligned with it, got empty masks.")
        paths = [self.files[index] for index in files_of_frames(len(self.files), video.num_times)]
        cameras = stag4d_cameras(video)
        alignment, colors = self._align(paths, video, cameras[:1])
        views, points = ArrayList(), None
        for time, path in enumerate(tracked(paths, "rendering the flipbook")):
            raw = transform_gaussians(alignment.placements[time], _read(path).gaussians)
            if colors == "frame":
                raw = _colored_by_frame(raw, video, time, cameras[:1])
            elif colors == "linear":
                raw = _darkened(raw)
            views.append(render_views(_with_time(raw.activate()), cameras, self.device, finer=_FINER)[0])
            if time == video.num_times // 2:
                points = _surface(raw)
        names = [view.name for view in RIGS["stag4d"][1:]]
        return GeneratedViews(join_views(video, views.stacked(), cameras, names), points)

    def _align(self, paths: Sequence[Path], video: Video, camera: Cameras) -> tuple[Alignment, _Colors]:
        """Where the shapes of all frames are, and which colors they get."""
        sampled = {path: _sample(_read(path)) for path in tracked(dict.fromkeys(paths), "reading the flipbook")}
        shapes, config = [sampled[path] for path in paths], self.config
        is_colored = all(shape.is_colored for shape in shapes)
        if config.align:
            alignment = align(
                shapes,
                video,
                camera,
                colored=is_colored,
                up=config.up,
                azimuth_deg=config.azimuth,
                smoothing=config.smoothing,
            )
        else:
            alignment = compare(shapes, video, camera)
        self._report(alignment)
        if not is_colored:
            return alignment, "frame"
        if paths[0].suffix.lower() not in (".glb", ".gltf"):
            return alignment, "file"
        darkened = [replace(shape, gaussians=_darkened(shape.gaussians)) for shape in shapes]
        own, other = (color_error(each, alignment.placements, video, camera) for each in (shapes, darkened))
        return alignment, "linear" if other < own else "file"

    def _report(self, alignment: Alignment) -> None:
        if alignment.iou >= _GOOD_IOU:
            return
        found = alignment.orientation
        pose = "" if found is None else f" with {found.up_axis} up, seen from azimuth {found.azimuth_deg:.0f}"
        message = (
            f"--flipbook {self.config.files} must match the masks of the video, got a mean overlap (IoU) of "
            f"{alignment.iou:.2f} at best{pose}. Give shapes of this object without its background, one per frame, and "
            "their orientation (--flipbook.up, --flipbook.azimuth) if it is known."
        )
        if alignment.iou < _MIN_IOU:
            raise ValueError(message)
        notify(Warned("views", message))


def _read(path: Path) -> Shape:
    return read_shape(path, _MESH_POINTS, torch.Generator().manual_seed(0))


def _sample(shape: Shape) -> Shape:
    """Equal Gaussians on the surface: at the centers of Gaussians, the more likely the more they cover."""
    active = shape.gaussians.activate()
    areas = active.scales.sort(dim=1, descending=True).values[:, :2].prod(1)
    weights = active.opacities * areas.clamp_max(4 * areas.median())
    count = min(_POINTS, len(weights))
    # With the seed of `_read`, whose random numbers chose the places of the points, the choice would depend on them.
    rows = weights.multinomial(count, generator=torch.Generator().manual_seed(1))
    raw = gaussians_from_points(
        active.means[rows], shape.colors[rows], opacity=_OPACITY, sh_degree=0, scale_factor=_SCALE_FACTOR
    )
    return Shape(raw, shape.is_colored)


def _darkened(raw: RawGaussians) -> RawGaussians:
    """Gaussians whose colors were sRGB but read as linear, with their true colors."""
    colors = torch.from_numpy(to_linear(Shape(raw, is_colored=True).colors.numpy()))
    return replace(raw, sh=rgb_to_sh(colors)[:, None])


def _surface(raw: RawGaussians) -> PointCloud:
    """Centers of the solid Gaussians; of all if none is."""
    shape = Shape(raw, is_colored=True)
    solid = raw.opacity_logits.sigmoid() > _SOLID
    rows = (solid if solid.any() else torch.ones_like(solid)).nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))[:_SURFACE_POINTS]
    return PointCloud(raw.means[rows[order]], shape.colors[rows[order]])


def _colored_by_frame(raw: RawGaussians, video: Video, time: int, camera: Cameras) -> RawGaussians:
    """Gaussians without colors in those of the frame; what it does not show gets its mean color."""
    rgba = torch.from_numpy(video.frames.read(time, 0)).movedim(-1, 0)[None].float() / 255
    mean = rgba[0, :3].sum((1, 2)) / rgba[0, 3].sum().clamp_min(1e-6)
    tolerance = 0.02 * float((raw.means.amax(0) - raw.means.amin(0)).norm())
    colors = color_points(
        raw.means,
        rgba[:, :3],
        rgba[:, 3:],
        camera,
        torch.ones(1),
        tolerance=tolerance,
        unseen=mean.expand(raw.num_gaussians, 3),
    )
    return replace(raw, sh=rgb_to_sh(colors)[:, None])


def _with_time(still: Gaussians) -> Gaussians:
    return Gaussians(still.means[None], still.quats[None], still.scales[None], still.opacities[None], still.sh[None])
