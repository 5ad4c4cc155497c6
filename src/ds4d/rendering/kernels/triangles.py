"""The nearest triangle at each pixel center (a z-buffer), with perspective-correct coordinates on it."""

from typing import no_type_check

from ds4d.core.numba_kernels import kernel


@no_type_check
@kernel(fast_math=False)
def draw_triangles(first, end, corners, nearer, depths, faces, barycentric):
    """The nearest triangle behind `nearer` at each pixel. Items: rows of the image.

    A triangle of which any corner is not in front of the camera, or that is seen edge-on, is left out.

    Args:
        first: first row.
        end: last row + 1.
        corners: [F, 3, 3], pixel x, pixel y (the center of the first pixel is at 0.5) and depth of each corner.
        nearer: [H, W], depth up to which nothing is drawn; 0 draws everything.
        depths: [H, W], infinity; written where a triangle is.
        faces: [H, W], index of the triangle; -1 where there is none.
        barycentric: [H, W, 3], weights of its corners on the surface.
    """
    width = depths.shape[1]
    for f in range(len(corners)):
        x0, y0, z0 = corners[f, 0]
        x1, y1, z1 = corners[f, 1]
        x2, y2, z2 = corners[f, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not (z0 > 0.0 and z1 > 0.0 and z2 > 0.0) or not abs(area) > 0.0:
            continue
        # Clamped before they become integers: a corner can be anywhere.
        top = int(min(max(min(y0, y1, y2) - 0.5, first), end))
        bottom = int(min(max(max(y0, y1, y2) + 0.5, first), end))
        left = int(min(max(min(x0, x1, x2) - 0.5, 0.0), width))
        right = int(min(max(max(x0, x1, x2) + 0.5, 0.0), width))
        for row in range(top, bottom):
            y = row + 0.5
            for column in range(left, right):
                x = column + 0.5
                b0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                b1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                b2 = 1.0 - b0 - b1
                if b0 < 0.0 or b1 < 0.0 or b2 < 0.0:
                    continue
                w0, w1, w2 = b0 / z0, b1 / z1, b2 / z2
                depth = 1.0 / (w0 + w1 + w2)
                if nearer[row, column] < depth < depths[row, column]:
                    depths[row, column] = depth
                    faces[row, column] = f
                    barycentric[row, column, 0] = w0 * depth
                    barycentric[row, column, 1] = w1 * depth
                    barycentric[row, column, 2] = w2 * depth
