"""EWA projection of Gaussians into images (Zwicker et al. 2001), forward and backward.

The arithmetic is in float64: the determinant of thin Gaussians would be lost to cancellation in float32, and memory
access costs more than the wider numbers.
"""

import math
from typing import no_type_check

from ds4d.core.numba_kernels import kernel
from ds4d.rendering.settings import ALPHA_CUT, MAX_EXTENT

MAX_RADIUS = 1e9  # fits an int32


@no_type_check
@kernel(fast_math=False)
def _rotation(quats, t, n):
    """Rows of the rotation matrix of quaternion (t, n), and the quaternion's inverse length."""
    w, x, y, z = float(quats[t, n, 0]), float(quats[t, n, 1]), float(quats[t, n, 2]), float(quats[t, n, 3])
    scale = 1.0 / max(math.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    w, x, y, z = w * scale, x * scale, y * scale, z * scale
    row0 = (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y))
    row1 = (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x))
    row2 = (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return row0, row1, row2, (w, x, y, z), scale


@no_type_check
@kernel(fast_math=False)
def _camera_point(viewmats, i, means, t, n):
    """Gaussian (t, n)'s center in camera i."""
    x, y, z = float(means[t, n, 0]), float(means[t, n, 1]), float(means[t, n, 2])
    m = viewmats
    return (
        m[i, 0, 0] * x + m[i, 0, 1] * y + m[i, 0, 2] * z + m[i, 0, 3],
        m[i, 1, 0] * x + m[i, 1, 1] * y + m[i, 1, 2] * z + m[i, 1, 3],
        m[i, 2, 0] * x + m[i, 2, 1] * y + m[i, 2, 2] * z + m[i, 2, 3],
    )


@no_type_check
@kernel(fast_math=False)
def _clamped_slope(slope, focal, center, size):
    """The slope (x / z or y / z) of the Jacobian, clamped to 0.15 of the image size outside the image."""
    per_pixel = 1.0 / focal
    margin = 0.15 * size * per_pixel
    return min(max(slope, -center * per_pixel - margin), (size - center) * per_pixel + margin)


@no_type_check
@kernel(fast_math=False)
def _scaled_axes(row0, row1, row2, scales, t, n):
    """Columns k = 0..2 of R_gaussian diag(scales), one (x, y, z) per scaled axis of the Gaussian."""
    s0, s1, s2 = float(scales[t, n, 0]), float(scales[t, n, 1]), float(scales[t, n, 2])
    axis0 = (row0[0] * s0, row1[0] * s0, row2[0] * s0)
    axis1 = (row0[1] * s1, row1[1] * s1, row2[1] * s1)
    axis2 = (row0[2] * s2, row1[2] * s2, row2[2] * s2)
    return axis0, axis1, axis2


@no_type_check
@kernel(fast_math=False)
def _image_axes(m, i, sx, sy):
    """Rows of the projection near a point of the slopes (sx, sy), before the factors jx and jy: world to pixels."""
    across = (m[i, 0, 0] - sx * m[i, 2, 0], m[i, 0, 1] - sx * m[i, 2, 1], m[i, 0, 2] - sx * m[i, 2, 2])
    down = (m[i, 1, 0] - sy * m[i, 2, 0], m[i, 1, 1] - sy * m[i, 2, 1], m[i, 1, 2] - sy * m[i, 2, 2])
    return across, down


@no_type_check
@kernel(fast_math=False)
def _rotate_back(m, i, v):
    """R_camera^T @ v for camera i."""
    return (
        m[i, 0, 0] * v[0] + m[i, 1, 0] * v[1] + m[i, 2, 0] * v[2],
        m[i, 0, 1] * v[0] + m[i, 1, 1] * v[1] + m[i, 2, 1] * v[2],
        m[i, 0, 2] * v[0] + m[i, 1, 2] * v[1] + m[i, 2, 2] * v[2],
    )


@no_type_check
@kernel(fast_math=False)
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@no_type_check
@kernel(fast_math=False)
def _project_one(
    i, t, n, axes, opacity, means, viewmats, Ks, width, height, near, far, eps2d, means2d, conics, depths, radii
):
    """Gaussian n of time t into image i."""
    x, y, z = _camera_point(viewmats, i, means, t, n)
    depths[i, n] = z
    means2d[i, n, 0], means2d[i, n, 1] = 0, 0  # number by number: a row would be a view, which is counted
    conics[i, n, 0], conics[i, n, 1], conics[i, n, 2] = 0, 0, 0
    radii[i, n, 0], radii[i, n, 1] = 0, 0
    if not near <= z <= far:  # written so that NaN fails the test
        return
    fx, fy, cx, cy = float(Ks[i, 0, 0]), float(Ks[i, 1, 1]), float(Ks[i, 0, 2]), float(Ks[i, 1, 2])
    per_depth = 1.0 / z
    slope_x, slope_y = x * per_depth, y * per_depth
    px, py = fx * slope_x + cx, fy * slope_y + cy
    means2d[i, n, 0], means2d[i, n, 1] = px, py
    if opacity < ALPHA_CUT:
        return

    sx, sy = _clamped_slope(slope_x, fx, cx, width), _clamped_slope(slope_y, fy, cy, height)
    jx, jy = fx * per_depth, fy * per_depth
    across, down = _image_axes(viewmats, i, sx, sy)
    u0, u1, u2 = jx * _dot(across, axes[0]), jx * _dot(across, axes[1]), jx * _dot(across, axes[2])
    v0, v1, v2 = jy * _dot(down, axes[0]), jy * _dot(down, axes[1]), jy * _dot(down, axes[2])
    xx = eps2d + u0 * u0 + u1 * u1 + u2 * u2
    xy = u0 * v0 + u1 * v1 + u2 * v2
    yy = eps2d + v0 * v0 + v1 * v1 + v2 * v2
    determinant = xx * yy - xy * xy
    if not determinant > 0:
        return

    extent = min(MAX_EXTENT, math.sqrt(2 * math.log(opacity / ALPHA_CUT)))
    rx = math.ceil(min(extent * math.sqrt(xx), MAX_RADIUS))
    ry = math.ceil(min(extent * math.sqrt(yy), MAX_RADIUS))
    if not (rx > 0 and ry > 0 and -rx < px < width + rx and -ry < py < height + ry):
        return
    scale = 1.0 / determinant
    conics[i, n, 0], conics[i, n, 1], conics[i, n, 2] = yy * scale, -xy * scale, xx * scale
    radii[i, n, 0], radii[i, n, 1] = rx, ry


@no_type_check
@kernel(fast_math=False)
def project(
    first, end, means, quats, scales, opacities, viewmats, Ks, width, height, near, far, eps2d,
    means2d, conics, depths, radii,
):  # fmt: skip
    """Fills means2d [I,N,2], conics [I,N,3], depths [I,N] and radii [I,N,2] (0 if not visible). Items: T * N.

    Args are means [T,N,3], quats [T,N,4], scales [T,N,3], opacities [T,N], viewmats [I,4,4], Ks [I,3,3].
    """
    times, count = means.shape[:2]
    views = viewmats.shape[0] // max(1, times)
    for item in range(first, end):
        t, n = item // count, item % count
        row0, row1, row2, _, _ = _rotation(quats, t, n)
        axes = _scaled_axes(row0, row1, row2, scales, t, n)
        opacity = float(opacities[t, n])
        for i in range(t * views, (t + 1) * views):
            _project_one(
                i, t, n, axes, opacity, means, viewmats, Ks, width, height, near, far, eps2d,
                means2d, conics, depths, radii,
            )  # fmt: skip


@no_type_check
@kernel(fast_math=False)
def _add(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@no_type_check
@kernel(fast_math=False)
def _scale(factor, a):
    return factor * a[0], factor * a[1], factor * a[2]


@no_type_check
@kernel(fast_math=False)
def _covariance_gradient(conics, d_conics, i, n):
    """dL/dcovariance = -conic dL/dconic conic, as (xx, xy, yy); the middle of d_conics is for both off-diagonals."""
    a, b, c = float(conics[i, n, 0]), float(conics[i, n, 1]), float(conics[i, n, 2])
    d_a, d_b, d_c = float(d_conics[i, n, 0]), 0.5 * float(d_conics[i, n, 1]), float(d_conics[i, n, 2])
    left_xx, left_xy = a * d_a + b * d_b, a * d_b + b * d_c
    left_yx, left_yy = b * d_a + c * d_b, b * d_b + c * d_c
    return -(left_xx * a + left_xy * b), -(left_xx * b + left_xy * c), -(left_yx * b + left_yy * c)


@no_type_check
@kernel(fast_math=False)
def _axis_gradient(axis, across, down, jx, jy, d_covariance):
    """Gradients of u = jx across . axis and v = jy down . axis, whose outer product an axis adds to the covariance."""
    u, v = jx * _dot(across, axis), jy * _dot(down, axis)
    d_u = 2 * (d_covariance[0] * u + d_covariance[1] * v)
    d_v = 2 * (d_covariance[1] * u + d_covariance[2] * v)
    return jx * d_u, jy * d_v


@no_type_check
@kernel(fast_math=False)
def _quat_gradient(quat, inverse_length, column0, column1, column2):
    """Gradient of a quaternion of any length from the gradients of its rotation's columns."""
    w, x, y, z = quat
    m00, m10, m20 = column0
    m01, m11, m21 = column1
    m02, m12, m22 = column2
    d_w = 2 * (x * (m21 - m12) + y * (m02 - m20) + z * (m10 - m01))
    d_x = 2 * (w * (m21 - m12) + y * (m01 + m10) + z * (m02 + m20) - 2 * x * (m11 + m22))
    d_y = 2 * (w * (m02 - m20) + x * (m01 + m10) + z * (m12 + m21) - 2 * y * (m00 + m22))
    d_z = 2 * (w * (m10 - m01) + x * (m02 + m20) + y * (m12 + m21) - 2 * z * (m00 + m11))
    along = w * d_w + x * d_x + y * d_y + z * d_z
    return (
        (d_w - along * w) * inverse_length,
        (d_x - along * x) * inverse_length,
        (d_y - along * y) * inverse_length,
        (d_z - along * z) * inverse_length,
    )


@no_type_check
@kernel(fast_math=False)
def _image_gradient(i, t, n, axes, means, viewmats, Ks, width, height, conics, d_means2d, d_conics, d_depth, d_axes):
    """Gradients of a Gaussian's center and of its three scaled axes from one image, in world coordinates.

    Returns that of the center, and `d_axes` with those of the axes added.
    """
    x, y, z = _camera_point(viewmats, i, means, t, n)
    fx, fy, cx, cy = float(Ks[i, 0, 0]), float(Ks[i, 1, 1]), float(Ks[i, 0, 2]), float(Ks[i, 1, 2])
    per_depth = 1.0 / z
    slope_x, slope_y = x * per_depth, y * per_depth
    jx, jy = fx * per_depth, fy * per_depth
    d_px, d_py = float(d_means2d[i, n, 0]), float(d_means2d[i, n, 1])
    d_x, d_y = jx * d_px, jy * d_py
    d_z = d_depth - slope_x * d_x - slope_y * d_y

    sx, sy = _clamped_slope(slope_x, fx, cx, width), _clamped_slope(slope_y, fy, cy, height)
    d_covariance = _covariance_gradient(conics, d_conics, i, n)
    across, down = _image_axes(viewmats, i, sx, sy)
    du0, dv0 = _axis_gradient(axes[0], across, down, jx, jy, d_covariance)
    du1, dv1 = _axis_gradient(axes[1], across, down, jx, jy, d_covariance)
    du2, dv2 = _axis_gradient(axes[2], across, down, jx, jy, d_covariance)
    d_axis0 = _add(d_axes[0], _add(_scale(du0, across), _scale(dv0, down)))
    d_axis1 = _add(d_axes[1], _add(_scale(du1, across), _scale(dv1, down)))
    d_axis2 = _add(d_axes[2], _add(_scale(du2, across), _scale(dv2, down)))
    d_across = _add(_add(_scale(du0, axes[0]), _scale(du1, axes[1])), _scale(du2, axes[2]))
    d_down = _add(_add(_scale(dv0, axes[0]), _scale(dv1, axes[1])), _scale(dv2, axes[2]))
    d_z -= (_dot(d_across, across) + _dot(d_down, down)) * per_depth
    ahead = (float(viewmats[i, 2, 0]), float(viewmats[i, 2, 1]), float(viewmats[i, 2, 2]))
    if sx == slope_x:
        d_sx = -_dot(d_across, ahead) * per_depth
        d_x += d_sx
        d_z -= sx * d_sx
    if sy == slope_y:
        d_sy = -_dot(d_down, ahead) * per_depth
        d_y += d_sy
        d_z -= sy * d_sy
    return _rotate_back(viewmats, i, (d_x, d_y, d_z)), (d_axis0, d_axis1, d_axis2)


@no_type_check
@kernel(fast_math=False)
def _gaussian_gradient(
    t, n, views, means, quats, scales, viewmats, Ks, width, height, conics, radii,
    d_means2d, d_conics, d_depths, d_means, d_quats, d_scales,
):  # fmt: skip
    """Gaussian n of time t: sums over its images, in order."""
    row0, row1, row2, quat, inverse_length = _rotation(quats, t, n)
    axes = _scaled_axes(row0, row1, row2, scales, t, n)
    zero = (0.0, 0.0, 0.0)
    d_mean, d_axes = zero, (zero, zero, zero)
    for i in range(t * views, (t + 1) * views):
        d_depth = float(d_depths[i, n])
        if radii[i, n, 0] > 0:
            d_point, d_axes = _image_gradient(
                i, t, n, axes, means, viewmats, Ks, width, height, conics, d_means2d, d_conics, d_depth, d_axes
            )
            d_mean = _add(d_mean, d_point)
        else:
            d_mean = _add(d_mean, _rotate_back(viewmats, i, (0.0, 0.0, d_depth)))
    d_axis0, d_axis1, d_axis2 = d_axes
    d_means[t, n, 0], d_means[t, n, 1], d_means[t, n, 2] = d_mean
    d_scales[t, n, 0] = _dot((row0[0], row1[0], row2[0]), d_axis0)
    d_scales[t, n, 1] = _dot((row0[1], row1[1], row2[1]), d_axis1)
    d_scales[t, n, 2] = _dot((row0[2], row1[2], row2[2]), d_axis2)
    s = scales[t, n]
    d_quat = _quat_gradient(
        quat, inverse_length, _scale(float(s[0]), d_axis0), _scale(float(s[1]), d_axis1), _scale(float(s[2]), d_axis2)
    )
    d_quats[t, n, 0], d_quats[t, n, 1], d_quats[t, n, 2], d_quats[t, n, 3] = d_quat


@no_type_check
@kernel(fast_math=False)
def project_backward(
    first, end, means, quats, scales, viewmats, Ks, conics, radii, width, height,
    d_means2d, d_conics, d_depths, d_means, d_quats, d_scales,
):  # fmt: skip
    """Fills d_means [T,N,3], d_quats [T,N,4] and d_scales [T,N,3]. Items: T * N.

    The first arguments are those of `project` and its results; d_means2d, d_conics and d_depths are their gradients.
    """
    times, count = means.shape[:2]
    views = viewmats.shape[0] // max(1, times)
    for item in range(first, end):
        _gaussian_gradient(
            item // count, item % count, views, means, quats, scales, viewmats, Ks, width, height, conics, radii,
            d_means2d, d_conics, d_depths, d_means, d_quats, d_scales,
        )  # fmt: skip
