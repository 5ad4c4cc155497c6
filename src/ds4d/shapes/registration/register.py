"""Registration of a shape of unknown pose, scale and handedness to the views of one frame."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.geometry import camera_focus, inverse_similarity, transform_cameras, transform_points
from ds4d.shapes.points import gaussians_from_points
from ds4d.shapes.registration.orientation import Orientation, describe_orientation
from ds4d.shapes.registration.poses import Poses
from ds4d.shapes.registration.refinement import refine_poses
from ds4d.shapes.registration.search import search_poses
from ds4d.shapes.registration.targets import crop_views, shows_distance
from ds4d.types import Cameras, FrameBatch, RawGaussians, Renderer, Similarity

_MIN_CANDIDATES = 12
_CANDIDATE_IMAGES = 60  # candidates times views: few views are more ambiguous, and allow more in the same time
_MIRROR_GAIN = 0.05  # of the error, to accept a mirrored pose: symmetric shapes match both ways
_SIZES = (24, 40, 96)  # pixels of the crops: for the search, the candidates, the best candidate
_COUNTS = (400, 600, 3000)  # points of the shape rendered in them
_RADIUS = 0.5  # of the ball that all cameras see, in search space


@dataclass(frozen=True)
class Registration:
    """Result of a registration.

    Attributes:
        positions: points of the shape in the cameras' world.
        colors: colors of the shape in [0, 1]; None if it has none.
        matrix: homogeneous matrix from the shape's space to the cameras' world; where each view has its own scale and
            shift, their mean.
        orientation: the rotation in a readable form.
        silhouette_iou: intersection over union of rendered and true silhouettes, mean over the views, in [0, 1].
        color_error: mean color difference where both silhouettes cover, in [0, 1]; None for shapes without colors.
        knows_distance: whether the views determine distance and scale; a single view does not.
    """

    positions: Float[Tensor, "*V N 3"]
    colors: Float[Tensor, "*V N 3"] | None
    matrix: Float[Tensor, "4 4"]
    orientation: Orientation
    silhouette_iou: float
    color_error: float | None
    knows_distance: bool

    def metrics(self) -> dict[str, Any]:
        """The record for metrics.json."""
        return {
            "silhouette_iou": self.silhouette_iou,
            "color_error": self.color_error,
            **asdict(self.orientation),
            "scale": float(torch.linalg.det(self.matrix[:3, :3]).abs().pow(1 / 3)),
            "offset": self.matrix[:3, 3].tolist(),
            "knows_distance": self.knows_distance,
        }


def register_shape(
    positions: Float[Tensor, "*V N 3"],
    colors: Float[Tensor, "*V N 3"] | None,
    images: FrameBatch,
    cameras: Cameras,
    view_weights: Float[Tensor, " V"],
    renderer: Renderer,
    *,
    up: Float[Tensor, " 3"],
    rotations: Float[Tensor, "R 4"] | None = None,
) -> Registration:
    """Finds the pose, scale and handedness in which a shape matches its images, from any initial pose.

    points --search_poses: all rotations, coarse--> candidates --refine_poses--> best candidate --refine_poses--> result

    Equal input gives an equal result.

    Args:
        positions: points of the shape's surface, in its own space. If the shape moves and each view is of another
            time, each view has its own points, and its own scale and shift, too.
        colors: RGB of the points in [0, 1], or None.
        images: one image per view, without empty masks.
        cameras: V cameras without a time axis, on the CPU.
        view_weights: weights of the views.
        renderer: differentiable renderer for the CPU.
        up: up axis of the cameras' world; it only affects `Registration.orientation`.
        rotations: rotations wxyz from which the search begins, of the shape as it is; by default all, of its mirror
            image, too.
    """
    focus, radius = camera_focus(cameras)
    to_search = Similarity(_RADIUS / radius, torch.eye(3), -_RADIUS / radius * focus)
    views = transform_cameras(to_search, cameras)
    coarse, middle, fine = (crop_views(images, views, view_weights, size) for size in _SIZES)
    center, extent = _center_and_extent(positions)
    unit = (positions - center) / extent
    shuffled = torch.randperm(positions.shape[-2], generator=torch.Generator().manual_seed(0))
    few, more, many = (shuffled[:count] for count in _COUNTS)
    colored = colors is not None

    candidates = max(_MIN_CANDIDATES, _CANDIDATE_IMAGES // cameras.num_views)
    poses = search_poses(
        unit[..., few, :], None if colors is None else colors[..., few, :], coarse, candidates, rotations
    )
    shape = _gaussians(unit, colors, more)
    poses, score = refine_poses(poses, shape, middle, renderer, colored=colored, rate=0.03)
    best = poses.select(_best(score.error, poses)[None])
    shape = _gaussians(unit, colors, many)
    best, score = refine_poses(best, shape, fine, renderer, colored=colored, rate=0.01)

    from_search = inverse_similarity(to_search)
    scale, shift = best.scales[0].log().mean().exp(), best.shifts[0].reshape(-1, 3).mean(0)
    linear = from_search.scale * scale / extent * best.orientations[0]
    matrix = torch.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = transform_points(from_search, shift) - linear @ center
    return Registration(
        positions=transform_points(from_search, best.apply(unit)[0]),
        colors=colors,
        matrix=matrix,
        orientation=describe_orientation(linear, up),
        silhouette_iou=float(score.silhouette_iou),
        color_error=None if score.color_error is None else float(score.color_error),
        knows_distance=shows_distance(cameras),
    )


def _center_and_extent(positions: Float[Tensor, "*V N 3"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, ""]]:
    points = positions.flatten(0, -2)
    low, high = points.amin(0), points.amax(0)
    return (low + high) / 2, (high - low).norm()


def _gaussians(unit: Tensor, colors: Tensor | None, rows: Int[Tensor, " n"]) -> RawGaussians:
    """Small, nearly opaque Gaussians, so that the surface is closed and the silhouette hardly larger."""
    points = unit[..., rows, :]
    shown = torch.full_like(points, 0.5) if colors is None else colors[..., rows, :]
    if points.ndim == 2:
        return gaussians_from_points(points, shown, opacity=0.95, sh_degree=0, scale_factor=0.4)
    views = [_gaussians(*view, torch.arange(len(rows))) for view in zip(points, shown, strict=True)]
    return RawGaussians(**{name: torch.stack([getattr(v, name) for v in views]) for name in vars(views[0])})


def _best(errors: Float[Tensor, " B"], poses: Poses) -> Int[Tensor, ""]:
    """Index of the smallest error; mirrored poses must be clearly better."""
    return torch.where(poses.mirrored, errors / (1 - _MIRROR_GAIN), errors).argmin()
