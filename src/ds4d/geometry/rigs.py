"""Camera rigs as data: where the views of a multi-view sequence stand.

A rig file is a json list of views, the front first:
    [{"name": "front", "azimuth": 0, "elevation": 0, "fovy": 49.1, "distance": 2.0}, ...]
Silhouettes alone cannot tell rigs apart, so a rig is never guessed.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from ds4d.geometry.cameras import orbit_cameras
from ds4d.types import Cameras


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
