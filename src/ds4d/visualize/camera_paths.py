"""Camera paths: one camera per video frame, in normalized space."""

from ds4d.geometry import orbit_cameras
from ds4d.types import Cameras

SIDES = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}  # azimuths in degrees


def orbit_path(
    num: int, *, elevation_deg: float, fovy_deg: float, distance: float, size: int, turns: float = 1.0
) -> Cameras:
    """A camera that orbits the origin at constant speed, starting in front and moving towards +x.

    Frame i has the azimuth 360 * turns * i / num, so that whole revolutions loop without a repeated frame.

    Args:
        num: number of frames, T.
        elevation_deg: elevation of the camera, degrees, positive from above.
        fovy_deg: full vertical field of view, degrees.
        distance: distance of the camera from the origin, normalized units.
        size: height and width of the images, pixels.
        turns: number of revolutions; negative values reverse the direction.

    Returns:
        Cameras [T, 1].
    """
    azimuths = [360.0 * turns * i / num for i in range(num)]
    return _path(azimuths, elevation_deg, fovy_deg, distance, size)


def fixed_path(
    num: int, *, azimuth_deg: float, elevation_deg: float, fovy_deg: float, distance: float, size: int
) -> Cameras:
    """The same camera for every frame.

    Args:
        num: number of frames, T.
        azimuth_deg: azimuth of the camera, degrees: 0 on +z, 90 on +x (see `SIDES`).
        elevation_deg: elevation of the camera, degrees, positive from above.
        fovy_deg: full vertical field of view, degrees.
        distance: distance of the camera from the origin, normalized units.
        size: height and width of the images, pixels.

    Returns:
        Cameras [T, 1].
    """
    return _path([azimuth_deg] * num, elevation_deg, fovy_deg, distance, size)


def _path(azimuths: list[float], elevation_deg: float, fovy_deg: float, distance: float, size: int) -> Cameras:
    if not azimuths:
        raise ValueError("camera path: num must be at least 1 frame, got 0.")
    elevations = [elevation_deg] * len(azimuths)
    views = orbit_cameras(azimuths, elevations, fovy_deg=fovy_deg, distance=distance, width=size, height=size)
    return views[:, None]
