"""Colors of what the rays hit: procedural textures under static diffuse light.

Letters: P parts, R rays that hit a part, sorted by part.
"""

import numpy as np
from jaxtyping import Float

from ds4d.data.synthetic.anatomy import Part
from ds4d.data.synthetic.ray_tracing import Hits
from ds4d.data.synthetic.textures import GAMMA

_SKY, _GROUND = 0.85, 0.42  # ambient light from above and from below
_LAMP = 0.5
_TO_LAMP = np.array([0.48, 0.68, 0.55]) / np.linalg.norm([0.48, 0.68, 0.55])
_MAX_OCCLUSION = 0.85


def shade(
    hits: Hits, parts: tuple[Part, ...], shapes: Float[np.ndarray, "P 4 4"], viewmat: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "3 h w"]:
    """View-independent sRGB colors in [0, 1], 0 where nothing is hit.

    Args:
        hits: what the rays of a camera hit.
        parts: parts of the creature.
        shapes: maps of the parts from the unit sphere to the world at this time.
        viewmat: world-to-camera matrix of the camera.
    """
    owners = hits.parts.ravel()
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(parts) + 1))
    hit = order[starts[0] :]  # `NOTHING` sorts before every part
    points = _world_points(hits, hit, viewmat)
    colors, normals = np.empty_like(points), np.empty_like(points)
    for part, shape, start, end in zip(parts, shapes, starts[:-1] - starts[0], starts[1:] - starts[0], strict=True):
        if start == end:
            continue
        inverse = np.linalg.inv(shape[:3, :3])
        on_sphere = inverse @ (points[:, start:end] - shape[:3, 3:])
        colors[:, start:end] = part.texture(on_sphere)
        normals[:, start:end] = inverse.T @ on_sphere
    normals /= _lengths(normals)
    occluders = [shape for part, shape in zip(parts, shapes, strict=True) if part.occludes]
    light = _light(normals) * _openness(points, normals, occluders)
    image = np.zeros((3, owners.size))
    image[:, hit] = np.clip(colors * light, 0, 1) ** (1 / GAMMA)
    return image.reshape(3, *hits.parts.shape)


def _world_points(hits: Hits, hit: np.ndarray, viewmat: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 R"]:
    """Points that the rays with these flat indices hit."""
    rows, columns = np.divmod(hit, hits.parts.shape[1])
    depths = hits.depths.ravel()[hit]
    in_camera = np.stack((hits.xs[columns] * depths, hits.ys[rows] * depths, depths))
    return viewmat[:3, :3].T @ (in_camera - viewmat[:3, 3:])


def _light(normals: Float[np.ndarray, "3 R"]) -> Float[np.ndarray, " R"]:
    """Ambient light and one lamp, without cast shadows."""
    ambient = _GROUND + (_SKY - _GROUND) * 0.5 * (1 + normals[1])
    return ambient + _LAMP * np.maximum(_TO_LAMP @ normals, 0)


def _openness(
    points: Float[np.ndarray, "3 R"], normals: Float[np.ndarray, "3 R"], shapes: list[Float[np.ndarray, "4 4"]]
) -> Float[np.ndarray, " R"]:
    """Ambient occlusion: the fraction of the light that is not occluded by large parts nearby.

    A ball occludes the fraction cos(angle to the normal) / distance^2 of the light on a diffuse surface, the distance
    in radii; an ellipsoid is approximated by a ball with its radius in the direction of the point.
    """
    openness = np.ones(points.shape[1])
    for shape in shapes:
        offsets = shape[:3, 3:] - points
        facing = (offsets * normals).sum(0) / _lengths(offsets)
        radii_away = _lengths(np.linalg.inv(shape[:3, :3]) @ offsets)
        openness *= 1 - _MAX_OCCLUSION * np.maximum(facing, 0) / np.maximum(radii_away, 1) ** 2
    return openness


def _lengths(vectors: Float[np.ndarray, "3 R"]) -> Float[np.ndarray, " R"]:
    return np.sqrt((vectors * vectors).sum(0))
