"""Camera rigs as data: where the views of a multi-view sequence stand.

A rig file is a json list of views, the front first:
    [{"name": "front", "azimuth": 0, "elevation": 0, "fovy": 49.1, "distance": 2.0}, ...]
Silhouettes alone cannot tell rigs apart, so a rig is never guessed.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ds4d.geometry.cameras import orbit_cameras
from ds4d.io import atomic_path
from ds4d.types import Cameras

_RIG_TOLERANCE = 1e-4  # of a matrix entry, and of an image's height


@dataclass(frozen=True)
class RigView:
    """One camera of a rig, in degrees and world units; see `ds4d.geometry.cameras` for the signs."""

    name: str
    azimuth: float
    elevation: float
    fovy: float
    distance: float

    def __post_init__(self) -> None:
        if not 0 < self.fovy < 180:
            raise ValueError(f"RigView {self.name!r}: fovy must lie between 0 and 180 degrees, got {self.fovy}")
        if not 0 < self.distance < math.inf:
            raise ValueError(f"RigView {self.name!r}: distance must be positive, got {self.distance}")
        if not (math.isfinite(self.azimuth) and abs(self.elevation) <= 90):
            raise ValueError(
                f"RigView {self.name!r}: elevation must lie in [-90, 90] and azimuth be finite, "
                f"got {self.elevation} and {self.azimuth}"
            )


def _six_views(elevations: tuple[float, float], fovy: float, distance: float, front_fovy: float) -> tuple[RigView, ...]:
    front = RigView("front", 0.0, 0.0, front_fovy, distance)
    novel = (RigView(f"view{i}", 30.0 + 60.0 * i, elevations[i % 2], fovy, distance) for i in range(6))
    return (front, *novel)


RIGS: dict[str, tuple[RigView, ...]] = {
    # Zero123++ v1.1 as STAG4D uses it.
    "stag4d": _six_views((30.0, -20.0), fovy=49.1, distance=2.0, front_fovy=49.1),
    # Zero123++ v1.2 rescales the object, so its distance only fixes the unit of length.
    "zero123plus-v1.2": _six_views((20.0, -10.0), fovy=30.0, distance=4.0, front_fovy=30.0),
}


def load_rig(name_or_path: str) -> tuple[RigView, ...]:
    """A built-in rig by name, or a rig file.

    Raises:
        ValueError: no such name or file, or the file is not a list of views with the five keys in range.
    """
    if name_or_path in RIGS:
        return RIGS[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"rig must be one of {', '.join(RIGS)} or a json file, got {name_or_path!r}.")
    keys = set(RigView.__dataclass_fields__)
    try:
        rows = json.loads(path.read_text())
        if not isinstance(rows, list) or not rows:
            raise ValueError("the top level must be a non-empty list")
        for row in rows:
            if set(row) != keys:
                raise ValueError(f"each view needs exactly the keys {', '.join(sorted(keys))}, got {sorted(row)}")
        views = tuple(
            RigView(str(row["name"]), *(float(row[key]) for key in ("azimuth", "elevation", "fovy", "distance")))
            for row in rows
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"rig file {path} must be a json list of views: {error}.") from error
    return views


def rig_cameras(rig: tuple[RigView, ...], width: int, height: int) -> Cameras:
    """The rig's cameras without a time axis: viewmats [V, 4, 4]."""
    cameras = [
        orbit_cameras([v.azimuth], [v.elevation], fovy_deg=v.fovy, distance=v.distance, width=width, height=height)
        for v in rig
    ]
    return Cameras(torch.cat([c.viewmats for c in cameras]), torch.cat([c.Ks for c in cameras]), width, height)


def rig_cameras_round(front: Cameras, rig: tuple[RigView, ...]) -> Cameras:
    """A camera as it stands, and others round the same object: viewmats [1 + V, 4, 4].

    The object is taken to be where the camera's axis comes nearest to the origin. The others stand at the camera's
    distance from it with its vertical field of view; their azimuths are counted from its, their elevations from the
    horizon, and the rig's own distances and fields of view are not read.

    Args:
        front: one view, world y up.
        rig: the other views.

    Raises:
        ValueError: the camera looks away from the origin.
    """
    distance = float(front.viewmats[0, 2, 3])  # the origin's depth
    if not distance > 0:
        raise ValueError(
            f"the front camera must look towards the origin of the world, which must lie in the object, got the "
            f"origin at depth {distance:.3g}. Move the world's origin into the object."
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


def rig_of(cameras: Cameras, names: Sequence[str]) -> tuple[RigView, ...]:
    """The rig whose cameras these are, azimuths in [0, 360); `rig_cameras` makes the same cameras of it.

    Args:
        cameras: V views without a time axis, of images of any size.
        names: of the views.

    Raises:
        ValueError: a camera does not look at the origin, is tilted, or is not described by a field of view alone.
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
            f"camera {names[int(off.argmax())]!r} must look at the origin, upright, to be part of a rig, got one that "
            "does not. Describe these cameras by a transforms file."
        )
    return tuple(rig)


def write_rig(path: Path, rig: tuple[RigView, ...]) -> None:
    """A rig as a file that `load_rig` reads."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([asdict(view) for view in rig], indent=1), encoding="utf-8")
