"""Reading feature maps where Gaussians appear in each view (paper, TSSF: p(i,j))."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ds4d.fusion.reads_cpu import can_weigh, weighted_reads
from ds4d.geometry import project_points
from ds4d.types import Cameras

_NEAREST = 0.01  # inner units; a point closer to a camera, or behind it, is in no view


def sample_at_points(
    maps: Float[Tensor, "*T V C h w"],
    points: Float[Tensor, "*T N 3"],
    cameras: Cameras,
    *,
    warps: Float[Tensor, "*T V 2 _ _"] | None = None,
) -> tuple[Float[Tensor, "*T V N C"], Bool[Tensor, "*T V N"]]:
    """Every view's vector at every point, bilinear between the cells, and whether the point lies in the image at all.

    Gradients reach the maps and, as slopes between cells, the points.

    Args:
        maps: of V views; cell (i, j) stands for the image at ((j + 0.5) / w, (i + 0.5) / h) of its width and height.
        points: centers of that time, in the cameras' world.
        cameras: of the views [V], or of each time [*T, V]; their size gives the scale of pixels, not that of the maps.
        warps: how each view's image is warped: at place x it shows what belongs to x + shift(x), in half images;
            on a grid whose outer points are the image's corners.

    Returns:
        The vectors (those of the nearest border cell outside the image), and where the point lies in the image.
    """
    place, in_view, _ = project_places(points, cameras)
    return _read(maps, warp_places(place, warps), align_corners=False), in_view


def project_places(
    points: Float[Tensor, "*T N 3"], cameras: Cameras
) -> tuple[Float[Tensor, "*T V N 2"], Bool[Tensor, "*T V N"], Float[Tensor, "*T V N"]]:
    """Where each point appears in each view, whether it lies in the image, and how far before the camera.

    Arguments as for `sample_at_points`.

    Returns:
        Places in half images from the middle, those of points behind the camera outside the image; whether the
        place lies in the image; depths along the camera's z axis.
    """
    if points.ndim > cameras.viewmats.ndim - 1:
        cameras = cameras.expand_times(len(points))
    pixels, depths = project_points(points, cameras)
    in_front = depths > _NEAREST
    sizes = (cameras.width, cameras.height)
    # Axis by axis, by plain numbers: a tensor made here could not be part of a CUDA graph.
    x, y = ((2 * pixels[..., i] / size - 1).masked_fill(~in_front, 2.0) for i, size in enumerate(sizes))
    return torch.stack((x, y), dim=-1), in_front & (x.abs() <= 1) & (y.abs() <= 1), depths


def warp_places(
    place: Float[Tensor, "*T V N 2"], warps: Float[Tensor, "*T V 2 _ _"] | None
) -> Float[Tensor, "*T V N 2"]:
    """Where warped images show what belongs to places; `warps` as for `sample_at_points`."""
    return place if warps is None else place - _read(warps.to(place.dtype), place, align_corners=True)


class PointReads:
    """What every view shows at every point (p(i,j)), read when it is asked for and not kept.

    Kept, these are V N C numbers for each time, and again for their gradients. Reading is linear, so scores are read
    from maps of scores. Sums over the views are a kernel's on the CPU; elsewhere they grow one view at a time, which is
    read again for its gradient.

    Args:
        maps: of every view.
        place: where they are read, as `project_places` says.
    """

    def __init__(self, maps: Float[Tensor, "*T V C h w"], place: Float[Tensor, "*T V N 2"]) -> None:
        self._maps, self._place = maps, place
        self._views = list(zip(maps.unbind(-4), place.unbind(-3), strict=True))

    @property
    def num_views(self) -> int:
        """V."""
        return len(self._views)

    def without_real(self) -> "PointReads":
        """The generated views alone."""
        return PointReads(self._maps[..., 1:, :, :, :], self._place[..., 1:, :, :])

    def of_view(self, view: int) -> Float[Tensor, "*T N C"]:
        """What one view shows at every point."""
        maps, place = self._views[view]
        return _read_view(maps, place)

    def scores(self, weight: Float[Tensor, " C"]) -> Float[Tensor, "*T V N"]:
        """The product of every vector with `weight`."""
        maps = torch.einsum("c,...chw->...hw", weight, self._maps)
        return _read(maps.unsqueeze(-3), self._place, align_corners=False)[..., 0]

    def weighted_sum(self, weights: Float[Tensor, "*T V N"]) -> Float[Tensor, "*T N C"]:
        """Sum over the views of weight times vector."""
        if can_weigh(self._maps, self._place, weights):
            return weighted_reads(self._maps, self._place, weights)
        total = torch.zeros_like(weights[..., 0, :, None])
        for (maps, place), weight in zip(self._views, weights.unbind(-2), strict=True):
            total = total + _weigh_and_forget(maps, place, weight)
        return total


def visibility(
    depths: Float[Tensor, "*T V 1 h w"], points: Float[Tensor, "*T N 3"], cameras: Cameras, *, tolerance: float
) -> Float[Tensor, "*T V N"]:
    """How surely each view sees each point: a soft depth test in [0, 1]; 0 outside the image.

    One half for a point that lies `tolerance` behind the surface drawn there, falling to 0 within as much again.

    Args:
        depths: of the object as drawn into each view, along the camera's z axis; 0 where nothing is drawn, which
            hides nothing.
        points: centers of that time.
        cameras: as for `sample_at_points`.
        tolerance: inner units, above 0.
    """
    return visibility_at(depths, *project_places(points, cameras), tolerance=tolerance)


def visibility_at(
    depths: Float[Tensor, "*T V 1 h w"],
    place: Float[Tensor, "*T V N 2"],
    in_view: Bool[Tensor, "*T V N"],
    own: Float[Tensor, "*T V N"],
    *,
    tolerance: float,
) -> Float[Tensor, "*T V N"]:
    """`visibility` of points that `project_places` has placed, `own` being their depths."""
    drawn = _read(torch.where(depths > 0, depths, torch.full_like(depths, 1e3)), place, align_corners=False)
    behind = own - drawn[..., 0]
    return torch.sigmoid((tolerance - behind) * (4 / tolerance)) * in_view


def _weigh_and_forget(maps: Tensor, place: Tensor, weights: Tensor) -> Tensor:
    """`_weigh`, which keeps nothing for the gradient but its arguments."""
    if not torch.is_grad_enabled():
        return _weigh(maps, place, weights)
    return checkpoint(_weigh, maps, place, weights, use_reentrant=False, preserve_rng_state=False)


def _weigh(
    maps: Float[Tensor, "*T C h w"], place: Float[Tensor, "*T N 2"], weights: Float[Tensor, "*T N"]
) -> Float[Tensor, "*T N C"]:
    return _read_view(maps, place) * weights[..., None]


def _read_view(maps: Float[Tensor, "*T C h w"], place: Float[Tensor, "*T N 2"]) -> Float[Tensor, "*T N C"]:
    return _read(maps.unsqueeze(-4), place.unsqueeze(-3), align_corners=False).squeeze(-3)


def _read(maps: Tensor, place: Tensor, *, align_corners: bool) -> Float[Tensor, "*T V N C"]:
    """Maps [*T, V, C, h, w] at places [*T, V, N, 2] in half images."""
    grid = place.reshape(-1, 1, *place.shape[-2:])
    read = F.grid_sample(maps.flatten(0, -4), grid, padding_mode="border", align_corners=align_corners)
    return read[:, :, 0].mT.unflatten(0, maps.shape[:-3])
