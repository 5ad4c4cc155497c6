"""Camera paths from key frames in a json file.

    [{"at": 0, "azimuth": 0, "elevation": 10},
     {"at": 2, "azimuth": 90, "zoom": 1.5},
     {"at": 4, "azimuth": 360, "time": 1}]

`at` is in seconds of the video, angles are in degrees, `zoom` divides the usual distance, `time` is the clip's, in
[0, 1]. What a key frame leaves out it takes over from the one before. Without any `time`, the clip plays on by itself.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.geometry import orbit_cameras
from ds4d.types import Cameras


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one moment of a video.

    Attributes:
        at: seconds from the start of the video.
        azimuth: degrees, 0 from +z, growing towards +x; may go beyond 360 for more turns.
        elevation: degrees, positive from above.
        zoom: how much larger than usual the object is.
        time: of the clip, in [0, 1]; None where the clip plays by itself.
    """

    at: float
    azimuth: float = 0.0
    elevation: float = 10.0
    zoom: float = 1.0
    time: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, at="[0, inf)", azimuth="(-inf, inf)", elevation="[-90, 90]", zoom="(0, inf)")
        if self.time is not None:
            check_ranges(self, time="[0, 1]")


def read_keyframes(path: Path) -> tuple[Keyframe, ...]:
    """The key frames of a json file, in the order of their seconds.

    Raises:
        ValueError: the file is missing, no json, or holds key frames that are unfit; the message names file and frame.
    """
    if not path.is_file():
        raise ValueError(f"key frames {path} must be a json file, got nothing there. Check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"key frames {path} must be valid JSON, but {error}.") from error
    if not isinstance(content, list) or not content or not all(isinstance(entry, Mapping) for entry in content):
        raise ValueError(f"key frames {path} must be a list of at least one object, got {str(content)[:60]}.")
    frames, known = [], {}
    for index, entry in enumerate(content):
        known |= _checked(entry, f"{path}: [{index}]")
        try:
            frames.append(Keyframe(**known))
        except ValueError as error:
            raise ValueError(f"{path}: [{index}]: {error}") from error
    if frames[0].at != 0 or any(a.at >= b.at for a, b in itertools.pairwise(frames)):
        raise ValueError(f"{path}: at must begin at 0 and rise, got {[frame.at for frame in frames]}.")
    timed = [frame.time is not None for frame in frames]
    if any(timed) and not timed[0]:
        raise ValueError(f"{path}: [0] must give a time where a later key frame does. Add it.")
    return tuple(frames)


def keyframe_path(
    frames: Sequence[Keyframe], seconds: Float[Tensor, " F"], *, fovy_deg: float, distance: float, size: int
) -> tuple[Cameras, Float[Tensor, " F"] | None]:
    """The camera at each moment of the video, and the clip's time where key frames say it.

    Between key frames everything follows monotone cubics (Fritsch and Carlson 1980): smooth, never beyond the values at
    both sides, and at rest between equal ones. After the last key frame the camera stands.

    Args:
        frames: rising `at`.
        seconds: of the video's frames.
        fovy_deg: full vertical field of view.
        distance: from the origin at zoom 1, world units.
        size: width and height in pixels.
    """
    at = torch.tensor([frame.at for frame in frames])

    def follow(values: Sequence[float]) -> Float[Tensor, " F"]:
        return _monotone_cubic(at, torch.tensor(values, dtype=torch.float32), seconds)

    azimuths, elevations = follow([f.azimuth for f in frames]), follow([f.elevation for f in frames])
    zooms = follow([math.log(f.zoom) for f in frames]).exp()
    views = [
        orbit_cameras([azimuth], [elevation], fovy_deg=fovy_deg, distance=distance / zoom, width=size, height=size)
        for azimuth, elevation, zoom in zip(azimuths.tolist(), elevations.tolist(), zooms.tolist(), strict=True)
    ]
    cameras = Cameras(
        torch.stack([view.viewmats for view in views]), torch.stack([view.Ks for view in views]), size, size
    )
    times = [frame.time for frame in frames if frame.time is not None]
    return cameras, follow(times).clamp(0, 1) if times else None


def _checked(entry: Mapping[str, Any], where: str) -> dict[str, float]:
    names = [field.name for field in fields(Keyframe)]
    for name, value in entry.items():
        if name not in names:
            raise ValueError(f"{where} must only hold the keys {', '.join(names)}, got {name!r}. Remove it.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: {name} must be a number, got {value!r}.")
    if "at" not in entry:
        raise ValueError(f"{where} must have the key 'at', the second of the video. Add it.")
    return {name: float(value) for name, value in entry.items()}


def _monotone_cubic(x: Float[Tensor, " K"], y: Float[Tensor, " K"], where: Float[Tensor, " F"]) -> Float[Tensor, " F"]:
    """The interpolation of Fritsch and Carlson through (x, y); constant outside."""
    if len(x) == 1:
        return y.expand(len(where))
    gaps = x.diff()
    slopes = y.diff() / gaps
    tangents = torch.cat((slopes[:1] * 0, (slopes[:-1] + slopes[1:]) / 2, slopes[-1:] * 0))
    turning = torch.cat((slopes.new_zeros(1), slopes[:-1] * slopes[1:], slopes.new_zeros(1))) <= 0
    tangents = torch.where(turning, 0, tangents)
    least = torch.minimum(*(torch.cat(ends).abs() for ends in ((slopes[:1], slopes), (slopes, slopes[-1:]))))
    tangents = tangents.clamp(-3 * least, 3 * least)
    low = (torch.searchsorted(x, where.contiguous(), right=True) - 1).clamp(0, len(x) - 2)
    t = ((where - x[low]) / gaps[low]).clamp(0, 1)
    start = (1 + 2 * t) * (1 - t) ** 2 * y[low] + t * (1 - t) ** 2 * gaps[low] * tangents[low]
    end = t * t * (3 - 2 * t) * y[low + 1] + t * t * (t - 1) * gaps[low] * tangents[low + 1]
    return start + end
