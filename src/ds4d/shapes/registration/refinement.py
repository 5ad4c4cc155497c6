"""Refinement of poses by gradient descent through the renderer."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import Adam, tracked
from ds4d.shapes.registration.match_score import MatchScore, score_match
from ds4d.shapes.registration.poses import Poses
from ds4d.shapes.registration.targets import Targets, shows_distance, views_as_times
from ds4d.types import Gaussians, RawGaussians, Renderer, Rendering

_STEPS = 30
_LR_DECAY = 0.03  # last learning rate over the first


def refine_poses(
    poses: Poses, shape: RawGaussians, targets: Targets, renderer: Renderer, *, colored: bool, rate: float
) -> tuple[Poses, MatchScore]:
    """Optimizes poses so that the rendered shape matches the target views.

    Alphas determine position and size; colors are compared only where both cover, so that a shape with other colors,
    such as unlit ones, does not shrink to hide them. If all views have one camera, the distance from it is not changed.

    Args:
        poses: initial poses in the targets' world, whose extent is about one unit.
        shape: round Gaussians; each view may have its own.
        targets: target views.
        renderer: differentiable renderer.
        colored: whether the shape has its own colors.
        rate: initial learning rate, of radians, logarithms of the scale, and world units.

    Returns:
        The refined poses and their match with the views.
    """
    quats = torch.nn.functional.normalize(poses.quats, dim=-1).requires_grad_()
    log_scales = poses.scales.log().requires_grad_()
    shifts = poses.shifts.clone().requires_grad_()
    viewmats = targets.cameras.viewmats
    along = torch.zeros(3) if shows_distance(targets.cameras) else viewmats[0, 2, :3]
    optimizer = Adam([quats, log_scales, shifts], beta1=0.8, beta2=0.95)

    def current() -> Poses:
        moved = shifts - poses.shifts
        held = shifts - (moved @ along)[..., None] * along
        return Poses(quats, poses.mirrored, log_scales.exp(), held)

    for step in tracked(range(_STEPS), "registering the shape"):
        errors = _image_errors(_render(current(), shape, targets, renderer), targets, colored=colored)
        errors.sum().backward()
        optimizer.step(rate * _LR_DECAY ** (step / _STEPS))
    with torch.no_grad():
        refined = replace(current(), quats=quats.detach())
        rendering = _render(refined, shape, targets, renderer)
        colors = _straight(rendering).flatten(3).mT if colored else None
        return refined, score_match(rendering.alphas.flatten(2) > 0.5, colors, targets)


def _render(poses: Poses, shape: RawGaussians, targets: Targets, renderer: Renderer) -> Rendering:
    """The shape in each pose and view: images [B, V, ...], premultiplied colors."""
    still, count, views = shape.activate(), len(poses.quats), targets.cameras.num_views
    is_shared = still.means.ndim == 2

    def repeated(values: Tensor) -> Tensor:
        each = values.expand(count, *values.shape)
        return each if is_shared else each.flatten(0, 1)

    means, scales = poses.apply(still.means), poses.scales[..., None, None] * still.scales
    placed = Gaussians(
        means=means if is_shared else means.flatten(0, 1),
        quats=repeated(still.quats),  # they are round: no rotation needed
        scales=scales if is_shared else scales.flatten(0, 1),
        opacities=repeated(still.opacities),
        sh=still.sh if is_shared else repeated(still.sh),
    )
    if is_shared:
        return renderer.render(placed, targets.cameras.expand_times(count))
    rendering = renderer.render(placed, views_as_times(targets.cameras, count))
    colors, alphas, depths = (getattr(rendering, name).squeeze(1) for name in ("colors", "alphas", "depths"))
    size = (count, views)
    return Rendering(colors.unflatten(0, size), alphas.unflatten(0, size), depths.unflatten(0, size))


def _image_errors(rendering: Rendering, targets: Targets, *, colored: bool) -> Float[Tensor, " B"]:
    """Mean squared differences of alphas, and of straight colors where both cover; weighted mean over views."""
    errors = (rendering.alphas - targets.alphas).square().mean((-1, -2, -3))
    if colored:
        both = (rendering.alphas * targets.alphas).detach()
        differences = (_straight(rendering) - targets.straight).square().sum(-3, keepdim=True)
        errors = errors + (both * differences).mean((-1, -2, -3))
    return (targets.weights * errors).sum(-1)


def _straight(rendering: Rendering) -> Float[Tensor, "B V 3 H W"]:
    return rendering.colors / rendering.alphas.clamp_min(1e-2)
