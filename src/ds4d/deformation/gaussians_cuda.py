"""Changes added to canonical Gaussians and their activation on a GPU, in one kernel each way."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.types import Gaussians, RawGaussians

_POINTS = 128  # per program
_Part = Tensor | None


def takes(raw: RawGaussians, changes: dict[str, Float[Tensor, "T N _"]]) -> bool:
    """Whether there is something to do, and colors that change are of degree 0."""
    return raw.num_gaussians > 0 and len(changes["means"]) > 0 and ("sh" not in changes or raw.sh.shape[-2] == 1)


def activated(raw: RawGaussians, changes: dict[str, Float[Tensor, "T N _"]]) -> Gaussians:
    """`RawGaussians.activate` of `DeformationField.apply_changes`."""
    moved = [changes[name] for name in ("means", "quats", "log_scales")]
    optional = [changes.get("opacity_logits"), changes.get("sh")]
    parts = [None if part is None else part.contiguous() for part in (*moved, *optional)]
    fixed = [x.contiguous() for x in (raw.means, raw.quats, raw.log_scales, raw.opacity_logits, raw.sh)]
    means, quats, scales, opacities, sh = _Activated.apply(*fixed, *parts)
    return Gaussians(means, quats, scales, opacities, raw.sh if optional[1] is None else sh)


class _Activated(torch.autograd.Function):
    """Five canonical tensors and five changes, of which the last two may be None; five activated tensors."""

    @staticmethod
    def forward(ctx: Any, *parts: _Part) -> tuple[Tensor, ...]:
        from ds4d.deformation.gaussians_cuda_kernel import activate

        canonical, changes = parts[:5], parts[5:]
        first = changes[0]
        assert first is not None
        (times, count, _), new = first.shape, first.new_empty
        activated = [new(times, count, 3), new(times, count, 4), new(times, count, 3), new(times, count)]
        activated.append(new(times if changes[4] is not None else 0, count, 1, 3))
        grid = (-(-count // _POINTS), times)
        activate[grid](*canonical, *changes, *activated, count, **_constants(changes))
        ctx.save_for_backward(*parts, *activated)
        return tuple(activated)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[_Part, ...]:
        from ds4d.deformation.gaussians_cuda_kernel import activate_backward

        canonical, changes, activated = (ctx.saved_tensors[i : i + 5] for i in (0, 5, 10))
        times, count, _ = changes[0].shape
        by_canonical = [None if x is None else torch.empty_like(x) for x in canonical]
        if changes[4] is None:
            by_canonical[4] = None
        by_changes = [None if x is None else torch.empty_like(x) for x in changes]
        activate_backward[(-(-count // _POINTS),)](
            canonical[1], changes[1], *activated[1:4], *(grad.contiguous() for grad in grads),
            *by_canonical, *by_changes, count, TIMES=times, **_constants(changes),
        )  # fmt: skip
        return *by_canonical, *by_changes


def _constants(changes: tuple[_Part, ...]) -> dict[str, Any]:
    return {"WITH_OPACITY": changes[3] is not None, "WITH_SH": changes[4] is not None, "BLOCK": _POINTS}
