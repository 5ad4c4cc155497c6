"""Feature maps of all views sampled at projected points (paper, TSSF: p(i,j)).

Image coordinates here are normalized as `grid_sample` takes them: x and y in [-1, 1] over the whole image.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ds4d.core import sigmoid
from ds4d.fusion.sampling_cpu import see_points, sum_of_samples, supports, visible_mean
from ds4d.geometry import project_points
from ds4d.types import Cameras

_NEAR = 0.01  # world units; a point nearer to a camera, or behind it, is outside its image
_BARELY_SEEN = 1e-2  # sum of a point's visibilities
_EPS = 1e-6  # interpolation weight below which a pixel does not count


def sample_at_points(
    maps: Float[Tensor, "*T V C h w"],
    points: Float[Tensor, "*T N 3"],
    cameras: Cameras,
    *,
    warps: Float[Tensor, "*T V 2 _ _"] | None = None,
) -> tuple[Float[Tensor, "*T V N C"], Bool[Tensor, "*T V N"]]:
    """Projects points into every view and samples its map there, bilinearly between the centers of the cells.

    Differentiable in the maps and the points.

    Args:
        maps: maps of V views; the center of cell (i, j) is at ((j + 0.5) / w, (i + 0.5) / h) of the image's width and
            height.
        points: points of each time, in the cameras' world.
        cameras: cameras of the views [V], or of each time [*T, V]; their width and height are those of the images, not
            of the maps.
        warps: warp of each view's image, in normalized image coordinates: the image shows at x what belongs to
            x + warp(x). The outer nodes of the warp grid are on the image border.

    Returns:
        The samples (outside the image those of its border), and whether each point is inside the image.
    """
    positions, in_view, _ = project_to_images(points, cameras)
    return _sample(maps, warp_positions(positions, warps), align_corners=False), in_view


def project_to_images(
    points: Float[Tensor, "*T N 3"], cameras: Cameras
) -> tuple[Float[Tensor, "*T V N 2"], Bool[Tensor, "*T V N"], Float[Tensor, "*T V N"]]:
    """Projects points into every view.

    Args:
        points: points of each time, in the cameras' world.
        cameras: cameras of the views [V], or of each time [*T, V].

    Returns:
        Normalized image coordinates, outside the image for points behind the camera; whether they are inside the
        image; depths along the camera's z axis.
    """
    if points.ndim > cameras.viewmats.ndim - 1:
        cameras = cameras.expand_times(len(points))
    pixels, depths = project_points(points, cameras)
    in_front = depths > _NEAR
    sizes = (cameras.width, cameras.height)
    # Axis by axis, by plain numbers: a tensor made here could not be part of a CUDA graph.
    x, y = ((2 * pixels[..., i] / size - 1).masked_fill(~in_front, 2.0) for i, size in enumerate(sizes))
    return torch.stack((x, y), dim=-1), in_front & (x.abs() <= 1) & (y.abs() <= 1), depths


def warp_positions(
    positions: Float[Tensor, "*T V N 2"], warps: Float[Tensor, "*T V 2 _ _"] | None
) -> Float[Tensor, "*T V N 2"]:
    """Where warped images show what belongs to the given positions; `warps` as for `sample_at_points`."""
    return positions if warps is None else positions - _sample(warps.to(positions.dtype), positions, align_corners=True)


class PointSamples:
    """What every view shows at every point (paper: p(i,j)), sampled on demand and not kept.

    Kept, the samples would take V N C numbers per time, and as many for their gradients. Sampling is linear, so scores
    are sampled from maps of scores. On the CPU a kernel sums over the views; elsewhere the sum grows view by view, and
    each view is sampled again for its gradient.

    Args:
        maps: maps of every view.
        positions: normalized image coordinates of every point in every view (`project_to_images`).
    """

    def __init__(self, maps: Float[Tensor, "*T V C h w"], positions: Float[Tensor, "*T V N 2"]) -> None:
        self._maps, self._positions = maps, positions
        self._views = list(zip(maps.unbind(-4), positions.unbind(-3), strict=True))

    @property
    def num_views(self) -> int:
        """V."""
        return len(self._views)

    def generated_views(self) -> "PointSamples":
        """The samples of all views but the input view."""
        return PointSamples(self._maps[..., 1:, :, :, :], self._positions[..., 1:, :, :])

    def of_view(self, view: int) -> Float[Tensor, "*T N C"]:
        """The samples of one view."""
        return _sample_view(*self._views[view])

    def scores(self, weight: Float[Tensor, " C"]) -> Float[Tensor, "*T V N"]:
        """The dot product of every sample with `weight`."""
        maps = torch.einsum("c,...chw->...hw", weight, self._maps)
        return _sample(maps.unsqueeze(-3), self._positions, align_corners=False)[..., 0]

    def visible_mean(
        self, visible: Float[Tensor, "*T V N"], score: Float[Tensor, " C"], bonus: Float[Tensor, ""]
    ) -> Float[Tensor, "*T N C"] | None:
        """The mean by weights proportional to visibility times exp(score . sample + bonus of view 0), by one kernel.

        None where there is no kernel for it: on other devices than the CPU, and for gradients of the visibility.
        """
        if not supports(self._maps, self._positions, visible, score, bonus) or visible.requires_grad:
            return None
        return visible_mean(self._maps, self._positions, visible, score, bonus)

    def weighted_sum(self, weights: Float[Tensor, "*T V N"]) -> Float[Tensor, "*T N C"]:
        """The sum over the views of weight times sample."""
        if supports(self._maps, self._positions, weights):
            return sum_of_samples(self._maps, self._positions, weights)
        total = torch.zeros_like(weights[..., 0, :, None])
        for (maps, positions), weight in zip(self._views, weights.unbind(-2), strict=True):
            total = total + _weighted_again(maps, positions, weight)
        return total


def visibility(
    depths: Float[Tensor, "*T V 1 h w"], points: Float[Tensor, "*T N 3"], cameras: Cameras, *, tolerance: float
) -> Float[Tensor, "*T V N"]:
    """Visibility of each point in each view by a soft depth test, in [0, 1]; 0 outside the image.

    It is 0.5 for a point `tolerance` behind the rendered surface, and vanishes beyond twice that distance.

    Args:
        depths: rendered depths of the object in each view, along the camera's z axis; 0 where nothing is rendered,
            which hides nothing.
        points: points of each time, in the cameras' world.
        cameras: cameras of the views [V], or of each time [*T, V].
        tolerance: distance behind the surface, world units, above 0.
    """
    return visibility_at(depths, *project_to_images(points, cameras), tolerance=tolerance)


def visibility_at(
    depths: Float[Tensor, "*T V 1 h w"],
    positions: Float[Tensor, "*T V N 2"],
    in_view: Bool[Tensor, "*T V N"],
    point_depths: Float[Tensor, "*T V N"],
    *,
    tolerance: float,
) -> Float[Tensor, "*T V N"]:
    """`visibility` of points that `project_to_images` has projected."""
    # Interpolated over rendered pixels only: between a surface and the empty pixel beside it there is no surface.
    rendered = (depths > 0).to(depths.dtype)
    sums = _sample(torch.cat((rendered * depths, rendered), dim=-3), positions, align_corners=False)
    weight = sums[..., 1]
    behind = (point_depths - sums[..., 0] / weight.clamp_min(_EPS)).masked_fill(weight <= _EPS, -torch.inf)
    return sigmoid((tolerance - behind) * (4 / tolerance)) * in_view


def mean_over_views(
    maps: Float[Tensor, "*T V C h w"],
    points: Float[Tensor, "*T N 3"],
    cameras: Cameras,
    *,
    valid: Float[Tensor, "*T V"],
    depths: Float[Tensor, "*T V 1 _ _"] | None,
    warps: Float[Tensor, "*T V 2 _ _"] | None,
    tolerance: float,
    otherwise: float,
) -> Float[Tensor, "*T N C"]:
    """The mean of the samples of the views that see a point.

    Args:
        maps: maps of V views.
        points: points of each time, in the cameras' world.
        cameras: cameras of the views [V], or of each time [*T, V].
        valid: 1 for views that have an image, 0 for others.
        depths: rendered depths for the depth test (`visibility`); without, a view sees all points inside its image.
        warps: warps of the views' images (`sample_at_points`).
        tolerance: of the depth test, world units.
        otherwise: the value at points that no view sees.
    """
    positions, in_view, point_depths = project_to_images(points, cameras)
    seen = in_view.to(maps.dtype)
    if depths is not None:
        seen = visibility_at(depths.to(maps.dtype), positions, in_view, point_depths, tolerance=tolerance)
    seen = seen * valid[..., None]
    total = PointSamples(maps, warp_positions(positions, warps)).weighted_sum(seen)
    sum_of_weights = seen.sum(-2)[..., None]
    # A point that is barely seen has a part of each value, so that nothing jumps where it disappears.
    return (total + _BARELY_SEEN * otherwise) / (sum_of_weights + _BARELY_SEEN)


def locate(
    points: Float[Tensor, "*T N 3"],
    cameras: Cameras,
    *,
    depths: Float[Tensor, "*T V 1 _ _"] | None,
    warps: Float[Tensor, "*T V 2 _ _"] | None,
    tolerance: float,
) -> tuple[Float[Tensor, "*T V N 2"], Float[Tensor, "*T V N"]]:
    """Where every view shows the points, in normalized image coordinates, and their visibility in it.

    Args:
        points: points of each time, in the cameras' world; no gradient reaches them.
        cameras: cameras of the views [V], or of each time [*T, V].
        depths: rendered depths for the depth test (`visibility`); without, a view sees all points inside its image.
        warps: warps of the views' images (`sample_at_points`).
        tolerance: of the depth test, world units.
    """
    points = points.detach()
    if points.ndim == 3 and supports(points, cameras.viewmats, cameras.Ks):
        if cameras.viewmats.ndim == 3:
            cameras = cameras.expand_times(len(points))
        images = None if depths is None else depths.detach().squeeze(-3)
        size, warps = (cameras.width, cameras.height), None if warps is None else warps.detach().to(points.dtype)
        return see_points(
            points, cameras.viewmats, cameras.Ks, size, _NEAR, depths=images, tolerance=tolerance, warps=warps
        )
    positions, in_view, point_depths = project_to_images(points, cameras)
    visible = in_view.to(points.dtype)
    if depths is not None:
        visible = visibility_at(depths.to(points.dtype), positions, in_view, point_depths, tolerance=tolerance)
    return warp_positions(positions, warps), visible  # the depths are rendered, and so not warped


def _weighted_again(maps: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
    """`_weighted`, which samples again for the gradient instead of keeping the samples."""
    if not torch.is_grad_enabled():
        return _weighted(maps, positions, weights)
    return checkpoint(_weighted, maps, positions, weights, use_reentrant=False, preserve_rng_state=False)


def _weighted(
    maps: Float[Tensor, "*T C h w"], positions: Float[Tensor, "*T N 2"], weights: Float[Tensor, "*T N"]
) -> Float[Tensor, "*T N C"]:
    return _sample_view(maps, positions) * weights[..., None]


def _sample_view(maps: Float[Tensor, "*T C h w"], positions: Float[Tensor, "*T N 2"]) -> Float[Tensor, "*T N C"]:
    return _sample(maps.unsqueeze(-4), positions.unsqueeze(-3), align_corners=False).squeeze(-3)


def _sample(maps: Tensor, positions: Tensor, *, align_corners: bool) -> Float[Tensor, "*T V N C"]:
    """Maps [*T, V, C, h, w] at normalized image coordinates [*T, V, N, 2]."""
    grid = positions.reshape(-1, 1, *positions.shape[-2:])
    samples = F.grid_sample(maps.flatten(0, -4), grid, padding_mode="border", align_corners=align_corners)
    return samples[:, :, 0].mT.unflatten(0, maps.shape[:-3])
