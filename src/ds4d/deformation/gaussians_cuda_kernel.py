"""Changes added to canonical Gaussians and their activation, and the gradients, on a GPU; imports Triton.

Letters in shapes: T time, N Gaussians. All tensors are contiguous. Tensors that there are none of are None.
"""

from typing import no_type_check

import triton
import triton.language as tl

# New with each densification are the number of Gaussians and where the parts of one tensor begin, aligned or not.
_PARTS = ["quats_change", "scales_change", "opacity_change", "sh_change"]

_SHORTEST = tl.constexpr(1e-12)  # length by which a quaternion is divided, as in `torch.nn.functional.normalize`


@no_type_check
@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=_PARTS)
def activate(
    means, quats, log_scales, opacity_logits, sh,
    means_change, quats_change, scales_change, opacity_change, sh_change,
    moved, rotations, scales, opacities, colors, count,
    WITH_OPACITY: tl.constexpr, WITH_SH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Canonical values [N, _] plus changes [T, N, _], activated into [T, N, _]. Grid: blocks of Gaussians; times."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_inside = n < count
    i = tl.program_id(1) * count + n
    for axis in tl.static_range(3):
        here, there = 3 * n + axis, 3 * i + axis
        value = tl.load(means + here, mask=is_inside) + tl.load(means_change + there, mask=is_inside)
        tl.store(moved + there, value, mask=is_inside)
        value = tl.load(log_scales + here, mask=is_inside) + tl.load(scales_change + there, mask=is_inside)
        tl.store(scales + there, tl.exp(value), mask=is_inside)
        if WITH_SH:
            value = tl.load(sh + here, mask=is_inside) + tl.load(sh_change + there, mask=is_inside)
            tl.store(colors + there, value, mask=is_inside)
    w, x, y, z = _quaternion(quats, quats_change, n, i, is_inside)
    length = tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), _SHORTEST)
    tl.store(rotations + 4 * i, w / length, mask=is_inside)
    tl.store(rotations + 4 * i + 1, x / length, mask=is_inside)
    tl.store(rotations + 4 * i + 2, y / length, mask=is_inside)
    tl.store(rotations + 4 * i + 3, z / length, mask=is_inside)
    logit = tl.load(opacity_logits + n, mask=is_inside, other=0.0)
    if WITH_OPACITY:
        logit += tl.load(opacity_change + i, mask=is_inside, other=0.0)
    tl.store(opacities + i, tl.sigmoid(logit), mask=is_inside)


@no_type_check
@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["quats_change"])
def activate_backward(
    quats, quats_change, rotations, scales, opacities,
    by_moved, by_rotations, by_scales, by_opacities, by_colors,
    by_means, by_quats, by_log_scales, by_opacity_logits, by_sh,
    by_means_change, by_quats_change, by_scales_change, by_opacity_change, by_sh_change, count,
    TIMES: tl.constexpr, WITH_OPACITY: tl.constexpr, WITH_SH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of what `activate` read, written. Grid: blocks of Gaussians, each with all its times."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_inside = n < count
    for axis in tl.static_range(3):
        by_mean, by_scale = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
        by_color = tl.zeros((BLOCK,), tl.float32)
        for t in range(TIMES):
            i = 3 * (t * count + n) + axis
            grad = tl.load(by_moved + i, mask=is_inside, other=0.0)
            tl.store(by_means_change + i, grad, mask=is_inside)
            by_mean += grad
            grad = tl.load(by_scales + i, mask=is_inside, other=0.0) * tl.load(scales + i, mask=is_inside, other=0.0)
            tl.store(by_scales_change + i, grad, mask=is_inside)
            by_scale += grad
            if WITH_SH:
                grad = tl.load(by_colors + i, mask=is_inside, other=0.0)
                tl.store(by_sh_change + i, grad, mask=is_inside)
                by_color += grad
        tl.store(by_means + 3 * n + axis, by_mean, mask=is_inside)
        tl.store(by_log_scales + 3 * n + axis, by_scale, mask=is_inside)
        if WITH_SH:
            tl.store(by_sh + 3 * n + axis, by_color, mask=is_inside)
    sum_w, sum_x = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    sum_y, sum_z = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    by_logit = tl.zeros((BLOCK,), tl.float32)
    for t in range(TIMES):
        i = t * count + n
        w, x, y, z = _quaternion(quats, quats_change, n, i, is_inside)
        length = tl.sqrt(w * w + x * x + y * y + z * z)
        by_w, by_x, by_y, by_z = _read(by_rotations, i, is_inside)
        w, x, y, z = _read(rotations, i, is_inside)
        along = tl.where(length > _SHORTEST, by_w * w + by_x * x + by_y * y + by_z * z, 0.0)
        length = tl.maximum(length, _SHORTEST)
        by_w, by_x = (by_w - along * w) / length, (by_x - along * x) / length
        by_y, by_z = (by_y - along * y) / length, (by_z - along * z) / length
        tl.store(by_quats_change + 4 * i, by_w, mask=is_inside)
        tl.store(by_quats_change + 4 * i + 1, by_x, mask=is_inside)
        tl.store(by_quats_change + 4 * i + 2, by_y, mask=is_inside)
        tl.store(by_quats_change + 4 * i + 3, by_z, mask=is_inside)
        sum_w += by_w
        sum_x += by_x
        sum_y += by_y
        sum_z += by_z
        opacity = tl.load(opacities + i, mask=is_inside, other=0.0)
        grad = tl.load(by_opacities + i, mask=is_inside, other=0.0) * opacity * (1.0 - opacity)
        if WITH_OPACITY:
            tl.store(by_opacity_change + i, grad, mask=is_inside)
        by_logit += grad
    tl.store(by_quats + 4 * n, sum_w, mask=is_inside)
    tl.store(by_quats + 4 * n + 1, sum_x, mask=is_inside)
    tl.store(by_quats + 4 * n + 2, sum_y, mask=is_inside)
    tl.store(by_quats + 4 * n + 3, sum_z, mask=is_inside)
    tl.store(by_opacity_logits + n, by_logit, mask=is_inside)


@no_type_check
@triton.jit
def _read(quats, i, is_inside):
    at = quats + 4 * i
    w, x = tl.load(at, mask=is_inside, other=0.0), tl.load(at + 1, mask=is_inside, other=0.0)
    return w, x, tl.load(at + 2, mask=is_inside, other=0.0), tl.load(at + 3, mask=is_inside, other=0.0)


@no_type_check
@triton.jit
def _quaternion(quats, changes, n, i, is_inside):
    """The changed quaternion, not yet of unit length."""
    w, x, y, z = _read(quats, n, is_inside)
    more_w, more_x, more_y, more_z = _read(changes, i, is_inside)
    return w + more_w, x + more_x, y + more_y, z + more_z
