"""The initial Gaussians: on the object's surface at the middle frame."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import Warned, check_ranges, notify
from ds4d.geometry import UP_AXES, HullConfig, carve, color_points, sample_surface, transform_points
from ds4d.init.masked_views import middle_views
from ds4d.init.normalize import BALL_RADIUS, SceneNormalization
from ds4d.rendering import renderer_for
from ds4d.shapes import gaussians_from_points, random_ball, read_points
from ds4d.shapes.registration import Registration, register_shape
from ds4d.types import MultiViewVideo, PointCloud, RawGaussians

# IoU of a mesh's silhouettes with the masks. Meshes of other objects reach 0.4 to 0.65.
_MIN_IOU, _GOOD_IOU = 0.5, 0.7


@dataclass(frozen=True)
class InitConfig:
    """Initialization of the Gaussians.

    Attributes:
        method: origin of the points. `auto`: the surface that the view generator provides, otherwise `hull`. `hull`:
            the visual hull of the middle frame's masks. `mesh`: `file`, registered to the views of the middle frame.
            `points`: `file`, as it is. `random`: uniform in a ball (baseline of the ablation).
        file: mesh or point cloud (PLY, OBJ or GLB). For `mesh` it shows the object at the middle frame, in any pose and
            scale; for `points` it is in world space.
        num_gaussians: initial number of Gaussians.
        opacity: initial opacity, in (0, 1).
        sh_degree: degree of the spherical harmonics, 0 to 3.
        hull: settings of the visual hull.
        scale_factor: initial standard deviation of a Gaussian, in units of the distance to its neighbors.
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
                f"--init.file must not be given with --init.method {self.method}, got {self.file}. "
                "Add --init.method mesh (or points), or leave it out."
            )


def initial_gaussians(
    normalization: SceneNormalization,
    config: InitConfig,
    generator: torch.Generator,
    registration: Registration | None = None,
    surface: PointCloud | None = None,
) -> RawGaussians:
    """Gaussians on the surface of the object at the middle frame, in normalized space.

    points of `config.method` --colors of the images that show them--> round Gaussians as large as the point spacing

    Args:
        normalization: normalized scene.
        config: method and properties of the Gaussians.
        generator: random generator that samples the points.
        registration: registered mesh (`register_mesh`), for the method `mesh`.
        surface: surface points from the view generator, in world space, for the method `auto`.

    Raises:
        ValueError: the method needs a file that is not given or cannot be used.
    """
    if config.method == "random":
        points, colors = random_ball(config.num_gaussians, BALL_RADIUS, generator)
    else:
        images, cameras, view_weights = middle_views(normalization.video)
        points, own_colors = _surface_points(normalization, config, generator, registration, surface)
        spacing = float((normalization.aabb[1] - normalization.aabb[0]).max()) / config.hull.resolution
        colors = color_points(
            points, images.images, images.alphas, cameras, view_weights, tolerance=4 * spacing, unseen=own_colors
        )
    return gaussians_from_points(
        points, colors, opacity=config.opacity, sh_degree=config.sh_degree, scale_factor=config.scale_factor
    )


def describe_initialization(config: InitConfig, surface: PointCloud | None) -> str:
    """Where the initial Gaussians come from, in a few words; arguments as for `initial_gaussians`."""
    if config.method == "auto":
        return "the visual hull" if surface is None else "the surface of the generated views"
    return {"hull": "the visual hull", "random": "random points"}.get(config.method, str(config.file))


def register_mesh(video: MultiViewVideo, config: InitConfig, seed: int) -> Registration | None:
    """Registers the mesh of `config.file` to the views of the middle frame; None for other methods than `mesh`.

    Args:
        video: multi-view video with cameras in world space.
        config: names the file.
        seed: random seed of the points that are sampled on the mesh.

    Raises:
        ValueError: the file cannot be used, or its shape does not match the masks from any side.
    """
    if config.method != "mesh":
        return None
    positions, colors = _read_file(config, torch.Generator().manual_seed(seed))
    images, cameras, view_weights = middle_views(video)
    up = torch.tensor(UP_AXES[video.up])
    registration = register_shape(positions, colors, images, cameras, view_weights, renderer_for("cpu"), up=up)
    mismatch = (
        f"--init.file {config.file} must match the masks of the middle frame ({video.middle}), got an overlap (IoU) of "
        f"{registration.silhouette_iou:.2f} at best. Give a mesh of this object in its pose at that frame, or leave "
        "--init out."
    )
    if registration.silhouette_iou < _MIN_IOU:
        raise ValueError(mismatch)
    if registration.silhouette_iou < _GOOD_IOU:
        notify(Warned("init", mismatch))
    return registration


def _surface_points(
    normalization: SceneNormalization,
    config: InitConfig,
    generator: torch.Generator,
    registration: Registration | None,
    surface: PointCloud | None,
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"] | None]:
    """Points in normalized space, and their own colors if they have some."""
    if config.method == "auto" and surface is not None:
        rows = torch.randperm(len(surface.positions), generator=generator)[: config.num_gaussians]
        return transform_points(normalization.world, surface.positions[rows]), surface.colors[rows]
    if config.method == "mesh":
        assert registration is not None  # made by `register_mesh`
        return transform_points(normalization.world, registration.positions), registration.colors
    if config.method == "points":
        positions, colors = _read_file(config, generator)
        return transform_points(normalization.world, positions), colors
    images, cameras, _ = middle_views(normalization.video)
    hull = carve(images.alphas, cameras, normalization.aabb, config.hull)
    return sample_surface(hull, normalization.aabb, config.num_gaussians, generator), None


def _read_file(config: InitConfig, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    if config.file is None:
        raise ValueError(
            f"--init.file must name a mesh or point cloud with --init.method {config.method}, got none. "
            "Add --init.file FILE."
        )
    return read_points(config.file, config.num_gaussians, generator)
