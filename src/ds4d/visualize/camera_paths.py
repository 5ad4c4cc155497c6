"""Cameras of a video: one per frame, so that time can play while the camera turns or stands."""

from ds4d.geometry import orbit_cameras
from ds4d.types import Cameras

SIDES = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}  # azimuths in degrees


def orbit_path(
    num: int, *, elevation_deg: float, fovy_deg: float, distance: float, size: int, turns: float = 1.0
) -> Cameras:
    """A camera that turns round the origin, from the front towards +x first: viewmats [T, 1, 4, 4].

    Frame i stands at azimuth 360 * turns * i / num, so whole turns loop without a doubled frame.

    Args:
        num: T, frames.
        elevation_deg: positive from above.
        fovy_deg: full vertical field of view.
        distance: from the origin, world units.
        size: width and height in pixels.
        turns: during the whole path; negative turns the other way.
    """
    azimuths = [360.0 * turns * i / num for i in range(num)]
    return _path(azimuths, elevation_deg, fovy_deg, distance, size)


def fixed_path(
    num: int, *, azimuth_deg: float, elevation_deg: float, fovy_deg: float, distance: float, size: int
) -> Cameras:
    """A camera that stands still for all frames: viewmats [T, 1, 4, 4].

    Args:
        num: T, frames.
        azimuth_deg: 0 from +z, growing towards +x; see `SIDES`.
        elevation_deg: as the other arguments, see `orbit_path`.
        fovy_deg: full vertical field of view.
        distance: from the origin, world units.
        size: width and height in pixels.
    """
    return _path([azimuth_deg] * num, elevation_deg, fovy_deg, distance, size)


def _path(azimuths: list[float], elevation_deg: float, fovy_deg: float, distance: float, size: int) -> Cameras:
    if not azimuths:
        raise ValueError("camera path: num must be at least 1 frame.")
    elevations = [elevation_deg] * len(azimuths)
    views = orbit_cameras(azimuths, elevations, fovy_deg=fovy_deg, distance=distance, width=size, height=size)
    return views[:, None]
