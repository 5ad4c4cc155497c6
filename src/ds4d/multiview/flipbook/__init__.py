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

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import Warned, check_ranges, notify, to_dict, tracked
from ds4d.geometry import RIGS, color_points, rgb_to_sh, transform_gaussians
from ds4d.multiview.base import join_views, stag4d_cameras
from ds4d.multiview.flipbook.alignment import Alignment, ShapeAxis, align, compare
from ds4d.multiview.flipbook.files import files_of_frames, list_files
from ds4d.multiview.shape_views import render_views
from ds4d.shapes import Shape, read_shape
from ds4d.types import Cameras, Gaussians, GeneratedViews, PointCloud, RawGaussians, Video

_VERSION = 1  # changes when the same files and settings give other views
_MESH_POINTS = 40_000
_POINTS = 3000  # of a shape, to align it
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
        alignment, is_colored = self._align(paths, video, cameras[:1])
        views, points = [], None
        for time, path in enumerate(tracked(paths, "rendering the flipbook")):
            raw = transform_gaussians(alignment.placements[time], _read(path).gaussians)
            if not is_colored:
                raw = _colored_by_frame(raw, video, time, cameras[:1])
            views.append(render_views(_with_time(raw.activate()), cameras, self.device))
            if time == video.num_times // 2:
                points = _surface(raw)
        names = [view.name for view in RIGS["stag4d"][1:]]
        return GeneratedViews(join_views(video, np.concatenate(views), cameras, names), points)

    def _align(self, paths: Sequence[Path], video: Video, camera: Cameras) -> tuple[Alignment, bool]:
        """Where the shapes of all frames are, and whether all have colors."""
        sampled, is_colored = {}, True
        for path in tracked(dict.fromkeys(paths), "reading the flipbook"):
            shape = _read(path)
            sampled[path] = _sample(shape)
            is_colored &= shape.is_colored
        shapes, config = [sampled[path] for path in paths], self.config
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
        return alignment, is_colored

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


def _sample(shape: Shape) -> PointCloud:
    """Points of the surface: centers of Gaussians, the more likely the more they cover."""
    active = shape.gaussians.activate()
    areas = active.scales.sort(dim=1, descending=True).values[:, :2].prod(1)
    weights = active.opacities * areas.clamp_max(4 * areas.median())
    rows = _draw(weights, _POINTS)
    return PointCloud(active.means[rows], shape.colors[rows])


def _draw(weights: Float[Tensor, " N"], count: int) -> Tensor:
    """Indices with a probability that is proportional to the weight."""
    edges = weights.double().cumsum(0)
    where = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * edges[-1]
    return torch.searchsorted(edges, where, right=True).clamp_max(len(edges) - 1)


def _surface(raw: RawGaussians) -> PointCloud:
    """Centers of the solid Gaussians; of all if none is."""
    shape = Shape(raw, is_colored=True)
    solid = raw.opacity_logits.sigmoid() > _SOLID
    rows = (solid if solid.any() else torch.ones_like(solid)).nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:_SURFACE_POINTS]
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
