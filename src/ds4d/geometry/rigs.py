"""Camera rigs: the cameras of multi-view sequences, as data.

A rig file is a JSON list of views, the input view first:
    [{"name": "front", "azimuth": 0, "elevation": 0, "fovy": 49.1, "distance": 2.0}, ...]
Masks alone cannot distinguish rigs, so a rig is never estimated.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ds4d.geometry.cameras import orbit_cameras
from ds4d.io import atomic_path, read_json
from ds4d.types import Cameras

_RIG_TOLERANCE = 1e-4  # of a matrix entry, and of an image's height


@dataclass(frozen=True)
class RigView:
    """One camera of a rig, which looks at the origin.

    Attributes:
        name: name of the view.
        azimuth: azimuth, degrees; 0 on +z, 90 on +x.
        elevation: elevation, degrees; positive above the origin.
        fovy: vertical field of view, degrees.
        distance: distance from the origin, world units.
    """

    name: str
    azimuth: float
    elevation: float
    fovy: float
    distance: float

    def __post_init__(self) -> None:
        if not 0 < self.fovy < 180:
            raise ValueError(f"fovy of view {self.name!r} must lie between 0 and 180 degrees, got {self.fovy}")
        if not 0 < self.distance < math.inf:
            raise ValueError(f"distance of view {self.name!r} must be positive, got {self.distance}")
        if not (math.isfinite(self.azimuth) and abs(self.elevation) <= 90):
            raise ValueError(
                f"elevation of view {self.name!r} must be in [-90, 90] and azimuth be finite, "
                f"got {self.elevation} and {self.azimuth}"
            )


def _seven_views(elevations: tuple[float, float], fovy: float, distance: float) -> tuple[RigView, ...]:
    front = RigView("front", 0.0, 0.0, fovy, distance)
    generated = (RigView(f"view{i}", 30.0 + 60.0 * i, elevations[i % 2], fovy, distance) for i in range(6))
    return (front, *generated)


_MAX_VIEWS = 1000

RIGS: dict[str, tuple[RigView, ...]] = {
    # Zero123++ v1.1 as STAG4D uses it.
    "stag4d": _seven_views((30.0, -20.0), fovy=49.1, distance=2.0),
    # Zero123++ v1.2 rescales the object, so its distance only fixes the unit of length.
    "zero123plus-v1.2": _seven_views((20.0, -10.0), fovy=30.0, distance=4.0),
}


def load_rig(name_or_path: str) -> tuple[RigView, ...]:
    """Loads a built-in rig by name, or a rig file.

    Raises:
        ValueError: there is no such rig or file, or the file is not a list of views with the five keys in range.
    """
    if name_or_path in RIGS:
        return RIGS[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"rig must be one of {', '.join(RIGS)} or a JSON file, got {name_or_path!r}.")
    keys = set(RigView.__dataclass_fields__)
    try:
        rows = read_json(path)
        if not isinstance(rows, list) or not rows:
            raise ValueError("the top level must be a non-empty list")
        if len(rows) > _MAX_VIEWS:
            raise ValueError(f"there must be at most {_MAX_VIEWS} views, got {len(rows)}")
        for row in rows:
            if set(row) != keys:
                raise ValueError(f"each view needs exactly the keys {', '.join(sorted(keys))}, got {sorted(row)}")
        views = tuple(
            RigView(str(row["name"]), *(float(row[key]) for key in ("azimuth", "elevation", "fovy", "distance")))
            for row in rows
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"rig file {path} must be a JSON list of views: {error}.") from error
    return views


def rig_cameras(rig: tuple[RigView, ...], width: int, height: int) -> Cameras:
    """Cameras of a rig, without a time axis."""
    cameras = [
        orbit_cameras([v.azimuth], [v.elevation], fovy_deg=v.fovy, distance=v.distance, width=width, height=height)
        for v in rig
    ]
    return Cameras(torch.cat([c.viewmats for c in cameras]), torch.cat([c.Ks for c in cameras]), width, height)


def rig_cameras_around(front: Cameras, rig: tuple[RigView, ...]) -> Cameras:
    """The input camera, and cameras around the same object at the angles of a rig: [1 + V].

    The object is assumed at the point of the input camera's optical axis that is nearest to the origin. The other
    cameras have the distance and vertical field of view of the input camera; their azimuths are relative to it, their
    elevations to the horizon. Distances and fields of view in the rig are ignored.

    Args:
        front: input camera, one view in a world with y up.
        rig: the other views.

    Raises:
        ValueError: the input camera looks away from the origin.
    """
    distance = float(front.viewmats[0, 2, 3])  # the origin's depth
    if not distance > 0:
        raise ValueError(
            f"the input camera must look towards the origin of the world, which must be in the object, got the "
            f"origin at depth {distance:.3g}. Move the origin into the object."
        )
    center = front.centers[0]
    target = center + distance * front.viewmats[0, 2, :3]
    azimuth_deg = math.degrees(math.atan2(float(center[0] - target[0]), float(center[2] - target[2])))
    others = orbit_cameras(
        [azimuth_deg + view.azimuth for view in rig],
        [view.elevation for view in rig],
        fovy_deg=math.degrees(2 * math.atan(0.5 * front.height / float(front.Ks[0, 1, 1]))),
        distance=distance,
        width=front.width,
        height=front.height,
        target=target.tolist(),
    )
    return Cameras(
        torch.cat((front.viewmats, others.viewmats)), torch.cat((front.Ks, others.Ks)), front.width, front.height
    )


def rig_from_cameras(cameras: Cameras, names: Sequence[str]) -> tuple[RigView, ...]:
    """The rig with these cameras, azimuths in [0, 360); the inverse of `rig_cameras`.

    Args:
        cameras: V views without a time axis.
        names: names of the views.

    Raises:
        ValueError: a camera does not look at the origin, has roll, or has other intrinsics than a field of view.
    """
    rig = []
    for name, (x, y, z), K in zip(names, cameras.centers.tolist(), cameras.Ks, strict=True):
        azimuth_deg = math.degrees(math.atan2(x, z)) % 360
        elevation_deg = math.degrees(math.atan2(y, math.hypot(x, z)))
        fovy_deg = math.degrees(2 * math.atan(0.5 * cameras.height / float(K[1, 1])))
        rig.append(RigView(name, azimuth_deg, elevation_deg, fovy_deg, math.sqrt(x * x + y * y + z * z)))
    again = rig_cameras(tuple(rig), cameras.width, cameras.height)
    off = (again.viewmats - cameras.viewmats).flatten(1).abs().amax(1)
    off = off.maximum((again.Ks - cameras.Ks).flatten(1).abs().amax(1) / cameras.height)
    if off.max() > _RIG_TOLERANCE:
        raise ValueError(
            f"camera {names[int(off.argmax())]!r} must look at the origin without roll to be part of a rig, got one "
            "that does not. Describe these cameras by a transforms file."
        )
    return tuple(rig)


def write_rig(path: Path, rig: tuple[RigView, ...]) -> None:
    """Writes a rig file, which `load_rig` reads."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([asdict(view) for view in rig], indent=1), encoding="utf-8")
