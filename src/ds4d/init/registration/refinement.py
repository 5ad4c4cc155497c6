"""The fine search: poses that follow the gradients of what the splatter draws."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
from ds4d.init.registration.poses import Poses
from ds4d.init.registration.similarity import Likeness, compare
from ds4d.init.registration.targets import Targets
from ds4d.types import Gaussians, RawGaussians, Renderer, Rendering

_STEPS = 30  # of Adam
_SLOWDOWN = 0.03  # the last step over the first


def refine_poses(
    poses: Poses, shape: RawGaussians, targets: Targets, renderer: Renderer, *, colored: bool, rate: float
) -> tuple[Poses, Likeness]:
    """Moves each pose to where the shape, drawn from it, looks like the views.

    Coverage decides on place and size; colors are compared only where both cover, so that a shape whose colors are
    wrong, for instance unlit ones, does not shrink to hide them. With one view the distance from it stays as it is.

    Args:
        poses: of the shape in the targets' world, which is about one unit large.
        shape: round Gaussians.
        targets: the views.
        renderer: the splatter.
        colored: whether the shape has colors of its own.
        rate: the first step's size: radians, shares of the size, world units.

    Returns:
        The poses, and how much each looks like the views in the end.
    """
    quats = torch.nn.functional.normalize(poses.quats, dim=-1).requires_grad_()
    log_scales = poses.scales.log().requires_grad_()
    shifts = poses.shifts.clone().requires_grad_()
    along = targets.cameras.viewmats[0, 2, :3] if targets.cameras.num_views == 1 else torch.zeros(3)
    optimizer = torch.optim.Adam([quats, log_scales, shifts], lr=rate, betas=(0.8, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _SLOWDOWN ** (step / _STEPS))

    def current() -> Poses:
        moved = shifts - poses.shifts
        held = shifts - (moved @ along)[:, None] * along
        return Poses(quats, poses.mirrored, log_scales.exp(), held)

    for _ in tracked(range(_STEPS), "registering the shape"):
        optimizer.zero_grad()
        errors = _image_errors(_draw(current(), shape, targets, renderer), targets, colored=colored)
        errors.sum().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        refined = replace(current(), quats=quats.detach())
        drawn = _draw(refined, shape, targets, renderer)
        colors = _straight(drawn).flatten(3).mT if colored else None
        return refined, compare(drawn.alphas.flatten(2) > 0.5, colors, targets)


def _draw(poses: Poses, shape: RawGaussians, targets: Targets, renderer: Renderer) -> Rendering:
    """The shape in each pose and view: images [B, V, ...], colors premultiplied."""
    still = shape.activate()
    count = (len(poses.quats), still.num_gaussians)
    placed = Gaussians(
        means=poses.apply(still.means),
        quats=still.quats.expand(*count, 4),  # they are round: no need to turn them
        scales=poses.scales[:, None, None] * still.scales,
        opacities=still.opacities.expand(*count),
        sh=still.sh,
    )
    return renderer.render(placed, targets.cameras.expand_times(len(poses.quats)))


def _image_errors(drawn: Rendering, targets: Targets, *, colored: bool) -> Float[Tensor, " B"]:
    """Mean squared difference of the coverage, and of the straight colors where both cover; weighted over views."""
    errors = (drawn.alphas - targets.alphas).square().mean((-1, -2, -3))
    if colored:
        both = (drawn.alphas * targets.alphas).detach()
        differences = (_straight(drawn) - targets.straight).square().sum(-3, keepdim=True)
        errors = errors + (both * differences).mean((-1, -2, -3))
    return (targets.weights * errors).sum(-1)


def _straight(drawn: Rendering) -> Float[Tensor, "B V 3 H W"]:
    return drawn.colors / drawn.alphas.clamp_min(1e-2)
