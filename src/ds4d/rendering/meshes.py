"""Images of textured meshes without light, as their base colors and what glows: for results that are meshes."""

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.core import parallel_for
from ds4d.io import GltfModel, to_srgb

_SUBPIXELS = 3  # along each side of a pixel
_LAYERS = 8  # of surfaces that are cut out by their texture, one behind the other
_ROW_GRAIN = 16


def render_mesh(
    model: GltfModel,
    vertices: Float[np.ndarray, "V 3"],
    viewmat: Float[np.ndarray, "4 4"],
    K: Float[np.ndarray, "3 3"],
    width: int,
    height: int,
) -> UInt8[np.ndarray, "H W 4"]:
    """One image, straight alpha; both sides of every triangle are seen.

    Args:
        model: triangles and what is painted on them.
        vertices: where its vertices are, in the world of the camera.
        viewmat: world-to-camera matrix, OpenCV axes.
        K: intrinsics, pixels.
        width: image width, pixels.
        height: image height, pixels.
    """
    in_camera = vertices.astype(np.float64) @ viewmat[:3, :3].T.astype(np.float64) + viewmat[:3, 3]
    scaled = np.diag([_SUBPIXELS, _SUBPIXELS, 1.0]) @ K
    with np.errstate(divide="ignore", invalid="ignore"):  # of corners at the camera, whose triangles are left out
        pixels = (in_camera @ scaled.T)[:, :2] / in_camera[:, 2:]
    corners = np.ascontiguousarray(np.concatenate((pixels, in_camera[:, 2:]), axis=1)[model.faces])
    colors = _colors(model, corners, _SUBPIXELS * width, _SUBPIXELS * height)
    mixed = colors.reshape(height, _SUBPIXELS, width, _SUBPIXELS, 4).mean((1, 3))
    mixed[..., :3] /= np.maximum(mixed[..., 3:], 1e-8)
    return np.rint(mixed * 255).clip(0, 255).astype(np.uint8)


def _colors(
    model: GltfModel, corners: Float[np.ndarray, "F 3 3"], width: int, height: int
) -> Float[np.ndarray, "h w 4"]:
    """Premultiplied sRGB and coverage of each sample; behind what a texture cuts out, the next surface is seen."""
    from ds4d.rendering.kernels.triangles import draw_triangles  # imports numba

    colors = np.zeros((height, width, 4))
    nearer = np.zeros((height, width))
    for _ in range(_LAYERS):
        depths, faces = np.full((height, width), np.inf), np.full((height, width), -1, np.int32)
        barycentric = np.zeros((height, width, 3))
        parallel_for(draw_triangles, height, _ROW_GRAIN, corners, nearer, depths, faces, barycentric)
        rows, columns = np.nonzero(faces >= 0)
        if not len(rows):
            break
        ids, weights = faces[rows, columns], barycentric[rows, columns]
        seen = model.visible(ids, weights)
        shown = rows[seen], columns[seen]
        colors[shown] = 1.0
        colors[(*shown, slice(3))] = to_srgb(model.surface_colors(ids[seen], weights[seen]))
        if seen.all():
            break
        nearer[:] = np.inf
        nearer[rows[~seen], columns[~seen]] = depths[rows[~seen], columns[~seen]]
    return colors
