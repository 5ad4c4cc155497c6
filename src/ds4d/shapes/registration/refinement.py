"""Refinement of poses by gradient descent through the renderer."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
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
    optimizer = torch.optim.Adam([quats, log_scales, shifts], lr=rate, betas=(0.8, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _LR_DECAY ** (step / _STEPS))

    def current() -> Poses:
        moved = shifts - poses.shifts
        held = shifts - (moved @ along)[:, None] * along
        return Poses(quats, poses.mirrored, log_scales.exp(), held)

    for _ in tracked(range(_STEPS), "registering the shape"):
        optimizer.zero_grad()
        errors = _image_errors(_render(current(), shape, targets, renderer), targets, colored=colored)
        errors.sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        refined = replace(current(), quats=quats.detach())
        rendering = _render(refined, shape, targets, renderer)
        colors = _straight(rendering).flatten(3).mT if colored else None
        return refined, score_match(rendering.alphas.flatten(2) > 0.5, colors, targets)


def _render(poses: Poses, shape: RawGaussians, targets: Targets, renderer: Renderer) -> Rendering:
    """The shape in each pose and view: images [B, V, ...], premultiplied colors."""
    still, count = shape.activate(), len(poses.quats)
    placed = Gaussians(
        means=poses.apply(still.means),
        quats=still.quats.expand(count, *still.quats.shape),  # they are round: no rotation needed
        scales=poses.scales.reshape(-1, *(1,) * still.scales.ndim) * still.scales,
        opacities=still.opacities.expand(count, *still.opacities.shape),
        sh=still.sh,
    )
    if still.means.ndim == 2:
        return renderer.render(placed, targets.cameras.expand_times(count))
    names = ("means", "quats", "scales", "opacities")
    parts = {name: getattr(placed, name).flatten(0, 1) for name in names}
    sh = still.sh.repeat(count, 1, 1, 1)
    rendering = renderer.render(Gaussians(**parts, sh=sh), views_as_times(targets.cameras, count))
    views = (count, targets.cameras.num_views)
    colors, alphas, depths = (getattr(rendering, name).squeeze(1) for name in ("colors", "alphas", "depths"))
    return Rendering(colors.unflatten(0, views), alphas.unflatten(0, views), depths.unflatten(0, views))


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
