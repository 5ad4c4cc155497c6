"""Rotations as quaternions (wxyz) and matrices."""

import torch
from jaxtyping import Float
from torch import Tensor


def quats_to_matrices(quats: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of quaternions wxyz of any length above 0."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrices_to_quats(matrices: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions wxyz with w >= 0 of proper rotation matrices.

    The four classical formulas each divide by one component; the largest component is the safe divisor.
    """
    m = matrices
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    squares = torch.stack(
        (
            1 + trace,
            1 + 2 * m[..., 0, 0] - trace,
            1 + 2 * m[..., 1, 1] - trace,
            1 + 2 * m[..., 2, 2] - trace,
        ),
        dim=-1,
    )  # 4 w^2, 4 x^2, 4 y^2, 4 z^2
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = torch.stack(
        (
            torch.stack((squares[..., 0], wx, wy, wz), dim=-1),
            torch.stack((wx, squares[..., 1], xy, xz), dim=-1),
            torch.stack((wy, xy, squares[..., 2], yz), dim=-1),
            torch.stack((wz, xz, yz, squares[..., 3]), dim=-1),
        ),
        dim=-2,
    )
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quats = torch.nn.functional.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quats[..., :1] < 0, -quats, quats)


def multiply_quats(left: Float[Tensor, "*#batch 4"], right: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Hamilton product wxyz: the rotation `right` first, then `left`."""
    aw, ax, ay, az = left.unbind(-1)
    bw, bx, by, bz = right.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        dim=-1,
    )


def uniform_rotations(count: int) -> Float[Tensor, "N 4"]:
    """Unit quaternions wxyz that sample SO(3) uniformly: super-Fibonacci spirals (Alexa 2022).

    With 4000 of them, every rotation is within 14 degrees of one.
    """
    rows = torch.arange(count, dtype=torch.float64) + 0.5
    fraction = rows / count
    first = 2 * torch.pi * rows / 2**0.5
    second = 2 * torch.pi * rows / 1.533751168755204288118041  # the root of x^4 = x + 4
    inner, outer = fraction.sqrt(), (1 - fraction).sqrt()
    quats = (inner * first.sin(), inner * first.cos(), outer * second.sin(), outer * second.cos())
    return torch.stack(quats, dim=-1).float()
