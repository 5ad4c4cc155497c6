"""From silhouettes to a place: the inner world, the HexPlane's box, and the first Gaussians."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import Warned, check_ranges, notify
from ds4d.geometry import (
    UP_AXES,
    HullConfig,
    camera_focus,
    carve,
    color_points,
    fit_into_ball,
    occupied_bounds,
    sample_surface,
    transform_cameras,
    transform_points,
)
from ds4d.init.point_files import read_points
from ds4d.init.points import gaussians_from_points, random_ball
from ds4d.init.registration import Registration, register_shape
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, FrameBatch, MultiViewVideo, PointCloud, RawGaussians, Similarity

BALL_RADIUS = 0.5
_LEAST_IOU, _GOOD_IOU = 0.5, 0.7  # of a file's shape with the silhouettes; other objects reach 0.4 to 0.65


@dataclass(frozen=True)
class InitConfig:
    """The first Gaussians.

    Attributes:
        method: `auto` takes the surface that a view generator knows, or else does as `hull`, which carves the middle
            frame's silhouettes; `mesh` takes `file` and brings it to where the views show
            it; `points` takes `file` as it stands; `random` fills the ball and knows nothing of the object (the
            ablation's baseline).
        file: mesh or point cloud (PLY, OBJ, GLB): for `mesh` of the middle frame in any world, size and direction, for
            `points` in the user's world.
        num_gaussians: how many to start with.
        opacity: of each, in (0, 1).
        sh_degree: 0 to 3.
        hull: how silhouettes are carved.
        scale_factor: standard deviation in units of the gap to the neighbors.
    """

    method: Literal["auto", "hull", "mesh", "points", "random"] = "auto"
    file: Path | None = None
    num_gaussians: int = 12_000
    opacity: float = 0.5
    sh_degree: int = 0
    hull: HullConfig = field(default_factory=HullConfig)
    scale_factor: float = 0.7

    def __post_init__(self) -> None:
        check_ranges(self, num_gaussians="[1, inf)", opacity="(0, 1)", sh_degree="[0, 3]", scale_factor="(0, inf)")
        if self.file is not None and self.method not in ("mesh", "points"):
            raise ValueError(
                f"init: file must not be given when method is `{self.method}`, got {self.file}. "
                "Add --init.method mesh (or points), or leave it out."
            )


@dataclass(frozen=True)
class SceneNormalization:
    """Where the object is.

    Attributes:
        video: the clip with its cameras in the inner world.
        world: from the user's world to the inner one.
        aabb: box (min, max) of the object over the clip, grown by 10 %; inner units.
    """

    video: MultiViewVideo
    world: Similarity
    aabb: Float[Tensor, "2 3"]


def normalize_scene(video: MultiViewVideo, hull: HullConfig, *, max_times: int = 24) -> SceneNormalization:
    """Brings the object into the ball of radius 0.5 round the origin, y up, by the hulls of its silhouettes.

    Args:
        video: cameras in the user's world.
        hull: how silhouettes are carved.
        max_times: the hulls of at most this many frames, spread over the clip, make the bounds.
    """
    focus, radius = camera_focus(video.cameras)
    cube = torch.stack((focus - radius, focus + radius))
    coarse = replace(hull, resolution=min(64, hull.resolution))
    if video.is_monocular_sweep:
        images, cameras = _images_of_all_times(video)
        loose = replace(coarse, view_tolerance=max(2, cameras.num_views // 8))
        bounds = occupied_bounds(carve(images.alphas, cameras, cube, loose), cube)
    else:
        chosen = torch.linspace(0, video.num_times - 1, min(max_times, video.num_times)).round().long().unique()
        bounds = _union([_hull_bounds(video, int(time), cube, coarse) for time in chosen])
    world = fit_into_ball(bounds, BALL_RADIUS, torch.tensor(UP_AXES[video.up]))
    corners = torch.cartesian_prod(*bounds.T)
    moved = transform_points(world, corners)
    box = torch.stack((moved.amin(0), moved.amax(0)))
    margin = 0.05 * (box[1] - box[0])
    inner = replace(video, cameras=transform_cameras(world, video.cameras))
    return SceneNormalization(inner, world, torch.stack((box[0] - margin, box[1] + margin)))


def register_mesh(video: MultiViewVideo, config: InitConfig, seed: int) -> Registration | None:
    """The shape in the file, brought to where the views of the middle frame show it; none unless asked for by `mesh`.

    Args:
        video: cameras in the user's world.
        config: names the file.
        seed: of the choice of its points.

    Raises:
        ValueError: the file is unfit, or its shape does not look like the object from any side.
    """
    if config.method != "mesh":
        return None
    positions, colors = _read_file(config, torch.Generator().manual_seed(seed))
    images, cameras, view_weights = _middle_images(video)
    up = torch.tensor(UP_AXES[video.up])
    registered = register_shape(positions, colors, images, cameras, view_weights, renderer_for("cpu"), up=up)
    overlap = (
        f"init file {config.file} must fit the silhouettes of the middle frame ({video.middle}), got an overlap (IoU) "
        f"of {registered.silhouette_iou:.2f} at best. Give a mesh of this object as it stands in that frame, or leave "
        "--init out to begin without one."
    )
    if registered.silhouette_iou < _LEAST_IOU:
        raise ValueError(overlap)
    if registered.silhouette_iou < _GOOD_IOU:
        notify(Warned("init", overlap))
    return registered


def first_gaussians(
    normalization: SceneNormalization,
    config: InitConfig,
    generator: torch.Generator,
    registered: Registration | None = None,
    known: PointCloud | None = None,
) -> RawGaussians:
    """Gaussians of the middle frame in the inner world.

    Args:
        normalization: where the object is.
        config: what they are made of.
        generator: of the choice of points.
        registered: what `register_mesh` made of the file, for `mesh`.
        known: the surface that a view generator knows, in the user's world; for `auto`.
    """
    video = normalization.video
    if config.method == "random":
        points, colors = random_ball(config.num_gaussians, BALL_RADIUS, generator)
    else:
        images, cameras, view_weights = _middle_images(video)
        points, own_colors = _surface(normalization, config, generator, known, registered)
        spacing = float((normalization.aabb[1] - normalization.aabb[0]).max()) / config.hull.resolution
        colors = color_points(
            points, images.images, images.alphas, cameras, view_weights, tolerance=4 * spacing, unseen=own_colors
        )
    return gaussians_from_points(
        points, colors, opacity=config.opacity, sh_degree=config.sh_degree, scale_factor=config.scale_factor
    )


def describe_start(config: InitConfig, known: PointCloud | None) -> str:
    """Where the first Gaussians come from, in a few words; arguments as `first_gaussians`."""
    if config.method == "auto":
        return "the visual hull" if known is None else "the surface that comes with the views"
    return {"hull": "the visual hull", "random": "random points"}.get(config.method, str(config.file))


def _surface(
    normalization: SceneNormalization,
    config: InitConfig,
    generator: torch.Generator,
    known: PointCloud | None,
    registered: Registration | None,
) -> tuple[Tensor, Tensor | None]:
    """Points of the surface in the inner world, and the colors that they bring along."""
    if config.method == "auto" and known is not None:
        rows = torch.randperm(len(known.positions), generator=generator)[: config.num_gaussians]
        return transform_points(normalization.world, known.positions[rows]), known.colors[rows]
    if config.method == "mesh":
        assert registered is not None  # see `register_mesh`
        return transform_points(normalization.world, registered.positions), registered.colors
    if config.method == "points":
        positions, colors = _read_file(config, generator)
        return transform_points(normalization.world, positions), colors
    images, cameras, _ = _middle_images(normalization.video)
    hull = carve(images.alphas, cameras, normalization.aabb, config.hull)
    return sample_surface(hull, normalization.aabb, config.num_gaussians, generator), None


def _read_file(config: InitConfig, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    if config.file is None:
        raise ValueError(
            f"init: file must name a mesh or point cloud when method is `{config.method}`, got none. "
            "Add --init.file FILE."
        )
    return read_points(config.file, config.num_gaussians, generator)


def _middle_images(video: MultiViewVideo) -> tuple[FrameBatch, Cameras, Tensor]:
    """What shows the middle frame's shape: its views, or, where it has but one, the views of all times."""
    if video.is_monocular_sweep:
        images, cameras = _images_of_all_times(video)
        return images, cameras, torch.ones(cameras.num_views)
    return _images_at(video, video.middle)


def _images_at(video: MultiViewVideo, time: int) -> tuple[FrameBatch, Cameras, Tensor]:
    views = video.valid[time].nonzero().squeeze(1)
    times = torch.full_like(views, time)
    return video.gather(times, views), video.cameras[time, views], video.view_weights[views]


def _images_of_all_times(video: MultiViewVideo, most: int = 24) -> tuple[FrameBatch, Cameras]:
    """At most `most` images, spread over the clip, as if the object stood still."""
    pairs = video.valid.nonzero()
    chosen = torch.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().long().unique()
    times, views = pairs[chosen].unbind(1)
    return video.gather(times, views), video.cameras[times, views]


def _hull_bounds(video: MultiViewVideo, time: int, cube: Tensor, config: HullConfig) -> Tensor:
    images, cameras, _ = _images_at(video, time)
    return occupied_bounds(carve(images.alphas, cameras, cube, config), cube)


def _union(boxes: list[Tensor]) -> Tensor:
    stacked = torch.stack(boxes)
    return torch.stack((stacked[:, 0].amin(0), stacked[:, 1].amax(0)))
