"""Refinement of poses by gradient descent through the renderer."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
from ds4d.shapes.registration.match_score import MatchScore, score_match
from ds4d.shapes.registration.poses import Poses
from ds4d.shapes.registration.targets import Targets
from ds4d.types import Gaussians, RawGaussians, Renderer, Rendering

_STEPS = 30
_LR_DECAY = 0.03  # last learning rate over the first


def refine_poses(
    poses: Poses, shape: RawGaussians, targets: Targets, renderer: Renderer, *, colored: bool, rate: float
) -> tuple[Poses, MatchScore]:
    """Optimizes poses so that the rendered shape matches the target views.

    Alphas determine position and size; colors are compared only where both cover, so that a shape with other colors,
    such as unlit ones, does not shrink to hide them. With a single view the distance from its camera is not changed.

    Args:
        poses: initial poses in the targets' world, whose extent is about one unit.
        shape: round Gaussians.
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
    along = targets.cameras.viewmats[0, 2, :3] if targets.cameras.num_views == 1 else torch.zeros(3)
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
    still = shape.activate()
    count = (len(poses.quats), still.num_gaussians)
    placed = Gaussians(
        means=poses.apply(still.means),
        quats=still.quats.expand(*count, 4),  # they are round: no rotation needed
        scales=poses.scales[:, None, None] * still.scales,
        opacities=still.opacities.expand(*count),
        sh=still.sh,
    )
    return renderer.render(placed, targets.cameras.expand_times(len(poses.quats)))


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
