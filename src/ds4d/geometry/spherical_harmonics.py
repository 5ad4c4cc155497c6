"""Real spherical harmonics as 3D Gaussian splatting uses them, degrees 0 to 3."""

import torch
from jaxtyping import Float
from torch import Tensor

SH0 = 0.28209479177387814  # 1 / (2 sqrt(pi))
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
_C3 = (
    -0.5900435899266435, 2.890611442640554, -0.4570457994644658, 0.3731763325901154,
    -0.4570457994644658, 1.445305721320277, -0.5900435899266435,
)  # fmt: skip


def rgb_to_sh(rgb: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Degree-0 coefficients of a view-independent color in [0, 1]."""
    return (rgb - 0.5) / SH0


def sh_degree(bases: int) -> int:
    """Degree of K = (degree + 1)^2 basis functions."""
    degree = round(bases**0.5) - 1
    if not 0 <= degree <= 3 or (degree + 1) ** 2 != bases:
        raise ValueError(f"the number of spherical harmonics must be 1, 4, 9 or 16, got {bases}.")
    return degree


def evaluate_sh(sh: Float[Tensor, "*#batch K 3"], directions: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Colors max(0, SH(direction) + 0.5); directions point from the camera to the Gaussian and need not be unit."""
    degree = sh_degree(sh.shape[-2])
    colors = SH0 * sh[..., 0, :]
    if degree == 0:
        return torch.broadcast_tensors((colors + 0.5).clamp_min(0), directions)[0]
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unsqueeze(-1).unbind(-2)
    colors = colors + _C1 * (-y * sh[..., 1, :] + z * sh[..., 2, :] - x * sh[..., 3, :])
    if degree > 1:
        xx, yy, zz = x * x, y * y, z * z
        colors = (
            colors
            + _C2[0] * x * y * sh[..., 4, :]
            + _C2[1] * y * z * sh[..., 5, :]
            + _C2[2] * (2 * zz - xx - yy) * sh[..., 6, :]
            + _C2[3] * x * z * sh[..., 7, :]
            + _C2[4] * (xx - yy) * sh[..., 8, :]
        )
        if degree > 2:
            colors = (
                colors
                + _C3[0] * y * (3 * xx - yy) * sh[..., 9, :]
                + _C3[1] * x * y * z * sh[..., 10, :]
                + _C3[2] * y * (4 * zz - xx - yy) * sh[..., 11, :]
                + _C3[3] * z * (2 * zz - 3 * xx - 3 * yy) * sh[..., 12, :]
                + _C3[4] * x * (4 * zz - xx - yy) * sh[..., 13, :]
                + _C3[5] * z * (xx - yy) * sh[..., 14, :]
                + _C3[6] * x * (xx - 3 * yy) * sh[..., 15, :]
            )
    return (colors + 0.5).clamp_min(0)
