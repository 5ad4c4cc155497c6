"""Color of what the rays meet: procedural paint under diffuse light that is fixed in the world.

Letters: P parts, R rays that meet something, sorted by part.
"""

import numpy as np
from jaxtyping import Float

from ds4d.data.synthetic.anatomy import Part
from ds4d.data.synthetic.ray_tracing import Hits
from ds4d.data.synthetic.textures import GAMMA

_SKY, _GROUND = 0.85, 0.42  # ambient light from above and from below
_LAMP = 0.5
_TO_LAMP = np.array([0.48, 0.68, 0.55]) / np.linalg.norm([0.48, 0.68, 0.55])
_DEEPEST_SHADE = 0.85


def shade(
    hits: Hits, parts: tuple[Part, ...], shapes: Float[np.ndarray, "P 4 4"], viewmat: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "3 h w"]:
    """Displayed (sRGB) colors in [0, 1], 0 where nothing is seen. They do not depend on the direction of view.

    Args:
        hits: what the rays of one camera meet.
        parts: the creature.
        shapes: its parts' maps from the unit sphere to the world at this time.
        viewmat: of the camera that made `hits`.
    """
    owners = hits.parts.ravel()
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(parts) + 1))
    seen = order[starts[0] :]  # `NOTHING` sorts before every part
    points = _world_points(hits, seen, viewmat)
    colors, normals = np.empty_like(points), np.empty_like(points)
    for part, shape, start, end in zip(parts, shapes, starts[:-1] - starts[0], starts[1:] - starts[0], strict=True):
        if start == end:
            continue
        inverse = np.linalg.inv(shape[:3, :3])
        on_sphere = inverse @ (points[:, start:end] - shape[:3, 3:])
        colors[:, start:end] = part.paint(on_sphere)
        normals[:, start:end] = inverse.T @ on_sphere
    normals /= _lengths(normals)
    shading = [shape for part, shape in zip(parts, shapes, strict=True) if part.casts_shade]
    light = _light(normals) * _openness(points, normals, shading)
    image = np.zeros((3, owners.size))
    image[:, seen] = np.clip(colors * light, 0, 1) ** (1 / GAMMA)
    return image.reshape(3, *hits.parts.shape)


def _world_points(hits: Hits, seen: np.ndarray, viewmat: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 R"]:
    """Where the rays with these flat indices end."""
    rows, columns = np.divmod(seen, hits.parts.shape[1])
    depths = hits.depths.ravel()[seen]
    in_camera = np.stack((hits.xs[columns] * depths, hits.ys[rows] * depths, depths))
    return viewmat[:3, :3].T @ (in_camera - viewmat[:3, 3:])


def _light(normals: Float[np.ndarray, "3 R"]) -> Float[np.ndarray, " R"]:
    """Light from the whole sky and from one lamp, without cast shadows."""
    ambient = _GROUND + (_SKY - _GROUND) * 0.5 * (1 + normals[1])
    return ambient + _LAMP * np.maximum(_TO_LAMP @ normals, 0)


def _openness(
    points: Float[np.ndarray, "3 R"], normals: Float[np.ndarray, "3 R"], shapes: list[Float[np.ndarray, "4 4"]]
) -> Float[np.ndarray, " R"]:
    """The share of the light that large bodies nearby leave over.

    A ball hides the share cos(angle to the normal) / distance^2 of a diffuse surface's sky, the distance in radii; an
    ellipsoid is taken for a ball of the radius it has in the direction of the point.
    """
    openness = np.ones(points.shape[1])
    for shape in shapes:
        offsets = shape[:3, 3:] - points
        facing = (offsets * normals).sum(0) / _lengths(offsets)
        radii_away = _lengths(np.linalg.inv(shape[:3, :3]) @ offsets)
        openness *= 1 - _DEEPEST_SHADE * np.maximum(facing, 0) / np.maximum(radii_away, 1) ** 2
    return openness


def _lengths(vectors: Float[np.ndarray, "3 R"]) -> Float[np.ndarray, " R"]:
    return np.sqrt((vectors * vectors).sum(0))
