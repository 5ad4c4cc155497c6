"""Exact visibility of a union of ellipsoids: along each ray, the nearest surface and its part.

With p = A u mapping the unit sphere to an ellipsoid and a ray o + t d, the ray meets it where |A^-1 (o + t d)| = 1: a
quadratic in t whose coefficients are polynomials in the pixel coordinates. Letters: P parts, h w rays of a window.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NOTHING = -1


@dataclass(frozen=True, eq=False)
class Pinhole:
    """A camera whose pixels are rays.

    Attributes:
        viewmat: world-to-camera matrix, OpenCV axes.
        K: intrinsics in rays: those of the image times the rays per pixel along an axis.
        width: number of rays along a row.
        height: number of rays along a column.
    """

    viewmat: Float[np.ndarray, "4 4"]
    K: Float[np.ndarray, "3 3"]
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Hits:
    """The nearest surfaces in a window of the image.

    Attributes:
        top: first row of the window.
        left: first column of the window.
        parts: index of the nearest part, or `NOTHING`.
        depths: depth along the camera's z axis; infinite where nothing is hit.
        xs: x / z of the rays of each column.
        ys: y / z of the rays of each row.
    """

    top: int
    left: int
    parts: Int[np.ndarray, "h w"]
    depths: Float[np.ndarray, "h w"]
    xs: Float[np.ndarray, " w"]
    ys: Float[np.ndarray, " h"]


def trace(shapes: Float[np.ndarray, "P 4 4"], camera: Pinhole, align: int) -> Hits:
    """The first part that each ray hits.

    Args:
        shapes: affine maps from the unit sphere to the world.
        camera: camera, with one ray through the center of each pixel.
        align: the window starts and ends at multiples of this number of rays.

    Raises:
        ValueError: a part is not entirely in front of the camera.
    """
    in_camera = camera.viewmat @ shapes
    nearest = (in_camera[:, 2, 3] - np.linalg.norm(in_camera[:, 2, :3], axis=-1)).min()
    if nearest <= 0:
        raise ValueError(
            f"the synthetic creature must be in front of the camera, got a part at depth {nearest:.3f}. "
            "Move the camera out of the ball of radius 0.5 around the origin, and let it look at the origin."
        )
    boxes = np.stack([_bounding_box(shape, camera) for shape in in_camera])
    left, top = boxes[:, :2].min(0) // align * align
    right, bottom = -(-boxes[:, 2:].max(0) // align) * align
    xs = (np.arange(left, right) + 0.5 - camera.K[0, 2]) / camera.K[0, 0]
    ys = (np.arange(top, bottom) + 0.5 - camera.K[1, 2]) / camera.K[1, 1]
    parts = np.full((bottom - top, right - left), NOTHING, np.int16)  # short integers sort fast
    depths = np.full(parts.shape, np.inf)
    for index, (shape, (x0, y0, x1, y1)) in enumerate(zip(in_camera, boxes, strict=True)):
        rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        found = _nearest_depths(shape, xs[columns], ys[rows])
        nearer = found < depths[rows, columns]
        depths[rows, columns][nearer] = found[nearer]
        parts[rows, columns][nearer] = index
    return Hits(int(top), int(left), parts, depths, xs, ys)


def _bounding_box(shape: Float[np.ndarray, "4 4"], camera: Pinhole) -> Int[np.ndarray, "4"]:
    """Rays (left, top, right, bottom) of the image that can hit the ellipsoid, right and bottom exclusive.

    Tangent lines l of its outline satisfy l^T C l = 0 with the dual conic C = K (A A^T - c c^T) K^T, where A is the
    linear part of the shape and c its center in the camera.
    """
    linear, center = camera.K @ shape[:3, :3], camera.K @ shape[:3, 3]
    conic = linear @ linear.T - np.outer(center, center)
    middle = conic[:2, 2] / conic[2, 2]
    half = np.sqrt(np.maximum(middle**2 - np.diag(conic)[:2] / conic[2, 2], 0))
    size = (camera.width, camera.height)
    first = np.clip(np.floor(middle - half), 0, size)
    last = np.clip(np.ceil(middle + half), 0, size)
    return np.concatenate((first, last)).astype(int)


def _nearest_depths(
    shape: Float[np.ndarray, "4 4"], xs: Float[np.ndarray, " w"], ys: Float[np.ndarray, " h"]
) -> Float[np.ndarray, "h w"]:
    """Depth of the near side of the ellipsoid along the rays (x, y, 1); infinite where they miss it."""
    inverse = np.linalg.inv(shape[:3, :3])
    origin = -inverse @ shape[:3, 3]
    metric, slope = inverse.T @ inverse, origin @ inverse
    y = ys[:, None]
    squares = metric[0, 0] * xs**2 + 2 * metric[0, 2] * xs + metric[2, 2]
    squares = squares + (metric[1, 1] * ys**2 + 2 * metric[1, 2] * ys)[:, None] + 2 * metric[0, 1] * xs * y
    products = slope[0] * xs + slope[2] + slope[1] * y
    discriminants = products**2 - squares * (origin @ origin - 1)
    hit = discriminants >= 0
    roots = np.sqrt(np.where(hit, discriminants, 0))
    return np.where(hit, (-products - roots) / squares, np.inf)
