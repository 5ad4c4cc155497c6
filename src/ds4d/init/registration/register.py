"""A shape that was reconstructed elsewhere, brought to where the views show it."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.geometry import camera_focus, inverse_similarity, transform_cameras, transform_points
from ds4d.init.points import gaussians_from_points
from ds4d.init.registration.orientation import Orientation, describe_orientation
from ds4d.init.registration.poses import Poses
from ds4d.init.registration.refinement import refine_poses
from ds4d.init.registration.search import search_poses
from ds4d.init.registration.targets import extract_mattes
from ds4d.types import Cameras, FrameBatch, RawGaussians, Renderer, Similarity

_FEWEST_CANDIDATES = 12
_CANDIDATE_IMAGES = 60  # of all candidates and views: a view or two mistake more, and draw more as fast
_MIRRORED_MUST_SAVE = 0.05  # of the error: what is alike on both sides fits either way
_SIZES = (24, 40, 96)  # pixels of the windows: for the search, for the candidates, for the best of them
_COUNTS = (400, 600, 3000)  # points that stand for the shape in them
_RADIUS = 0.5  # of the ball that all cameras see, in the world of the search


@dataclass(frozen=True)
class Registration:
    """A shape as it stands in the views, and how well.

    Attributes:
        positions: of its points, in the world of the cameras.
        colors: its own, in [0, 1]; none where it has none.
        matrix: from the shape's world to that of the cameras.
        turn: the same in words.
        silhouette_iou: intersection over union of drawn and true silhouettes, 1 where they are equal; mean over views.
        color_error: mean difference of the colors where both silhouettes cover, in [0, 1]; none without colors.
        knows_distance: whether the views tell how far away the shape is; a single one does not, and size hangs on it.
    """

    positions: Float[Tensor, "N 3"]
    colors: Float[Tensor, "N 3"] | None
    matrix: Float[Tensor, "4 4"]
    turn: Orientation
    silhouette_iou: float
    color_error: float | None
    knows_distance: bool

    def metrics(self) -> dict[str, Any]:
        """What the record of a run holds."""
        return {
            "silhouette_iou": self.silhouette_iou,
            "color_error": self.color_error,
            **asdict(self.turn),
            "scale": float(torch.linalg.det(self.matrix[:3, :3]).abs().pow(1 / 3)),
            "offset": self.matrix[:3, 3].tolist(),
            "knows_distance": self.knows_distance,
        }


def register_shape(
    positions: Float[Tensor, "N 3"],
    colors: Float[Tensor, "N 3"] | None,
    images: FrameBatch,
    cameras: Cameras,
    view_weights: Float[Tensor, " V"],
    renderer: Renderer,
    *,
    up: Float[Tensor, " 3"],
) -> Registration:
    """Turns, mirrors, scales and moves a shape until it looks like its images, wherever it was before.

    All rotations are tried coarsely (`search_poses`), the best few follow the splatter's gradients (`refine_poses`),
    and the best of those does so again in larger images. Equal input gives an equal result.

    Args:
        positions: of the shape's surface, in its own world.
        colors: of the points, in [0, 1], or none.
        images: one per view, no mask empty.
        cameras: V cameras without a time axis, on the CPU.
        view_weights: trust in each view.
        renderer: the splatter for the CPU.
        up: the axis of the cameras' world that points up; it matters for the words only.
    """
    focus, radius = camera_focus(cameras)
    to_search = Similarity(_RADIUS / radius, torch.eye(3), -_RADIUS / radius * focus)
    views = transform_cameras(to_search, cameras)
    coarse, middle, fine = (extract_mattes(images, views, view_weights, size) for size in _SIZES)
    center, extent = _middle_and_extent(positions)
    unit = (positions - center) / extent
    shuffled = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))
    few, more, many = (shuffled[:count] for count in _COUNTS)
    colored = colors is not None

    candidates = max(_FEWEST_CANDIDATES, _CANDIDATE_IMAGES // cameras.num_views)
    poses = search_poses(unit[few], None if colors is None else colors[few], coarse, candidates)
    shape = _splats(unit, colors, more)
    poses, likeness = refine_poses(poses, shape, middle, renderer, colored=colored, rate=0.03)
    best = poses.select(_best(likeness.error, poses)[None])
    shape = _splats(unit, colors, many)
    best, likeness = refine_poses(best, shape, fine, renderer, colored=colored, rate=0.01)

    from_search = inverse_similarity(to_search)
    linear = from_search.scale * best.scales[0] / extent * best.turns[0]
    matrix = torch.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = transform_points(from_search, best.shifts[0]) - linear @ center
    return Registration(
        positions=positions @ linear.T + matrix[:3, 3],
        colors=colors,
        matrix=matrix,
        turn=describe_orientation(linear, up),
        silhouette_iou=float(likeness.silhouette_iou),
        color_error=None if likeness.color_error is None else float(likeness.color_error),
        knows_distance=cameras.num_views > 1,
    )


def _middle_and_extent(positions: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, ""]]:
    low, high = positions.amin(0), positions.amax(0)
    return (low + high) / 2, (high - low).norm()


def _splats(unit: Tensor, colors: Tensor | None, rows: Int[Tensor, " n"]) -> RawGaussians:
    """Small and nearly opaque ones, so that the surface closes and its outline hardly swells."""
    shown = torch.full_like(unit[rows], 0.5) if colors is None else colors[rows]
    return gaussians_from_points(unit[rows], shown, opacity=0.95, sh_degree=0, scale_factor=0.4)


def _best(errors: Float[Tensor, " B"], poses: Poses) -> Int[Tensor, ""]:
    """The row of the smallest error, where a mirrored one must be clearly better."""
    return torch.where(poses.mirrored, errors / (1 - _MIRRORED_MUST_SAVE), errors).argmin()
