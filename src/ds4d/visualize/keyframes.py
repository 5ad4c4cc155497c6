"""Camera paths from key frames in a json file.

    [{"at": 0, "azimuth": 0, "elevation": 10},
     {"at": 2, "azimuth": 90, "zoom": 1.5},
     {"at": 4, "azimuth": 360, "time": 1}]

`at` is in seconds of the video, angles are in degrees, `zoom` divides the default distance, `time` is the time of the
scene in [0, 1]. A key frame keeps the values of the one before where it gives none; the first one starts from azimuth
0, elevation 10, zoom 1 and time 0. If no key frame has a time, the scene plays at its own speed.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.geometry import orbit_cameras
from ds4d.io import read_json
from ds4d.types import Cameras


@dataclass(frozen=True)
class Keyframe:
    """The camera at one time of a video.

    Attributes:
        at: time in the video, seconds from its start.
        azimuth: azimuth of the camera, degrees: 0 on +z, 90 on +x; values beyond 360 are further revolutions.
        elevation: elevation of the camera, degrees, positive from above.
        zoom: magnification relative to the default distance.
        time: time of the scene, in [0, 1]; None if it plays at its own speed.
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
    """The key frames of a json file, in the order of their times in the video.

    Raises:
        ValueError: the file is missing or not valid JSON, or a key frame is invalid; the message names file and entry.
    """
    if not path.is_file():
        raise ValueError(f"key frames {path} must be a json file, got nothing there. Check the path.")
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"key frames {path} must be valid JSON, but {error}.") from error
    if not isinstance(content, list) or not content or not all(isinstance(entry, Mapping) for entry in content):
        raise ValueError(f"key frames {path} must be a list of at least one object, got {str(content)[:60]}.")
    frames = []
    values = {"time": 0.0} if any("time" in entry for entry in content) else {}
    for index, entry in enumerate(content):
        values |= _checked(entry, f"{path}: [{index}]")
        try:
            frames.append(Keyframe(**values))
        except ValueError as error:
            raise ValueError(f"{path}: [{index}]: {error}") from error
    if frames[0].at != 0 or any(a.at >= b.at for a, b in itertools.pairwise(frames)):
        raise ValueError(f"{path}: at must start at 0 and rise, got {[frame.at for frame in frames]}.")
    return tuple(frames)


def keyframe_path(
    frames: Sequence[Keyframe], seconds: Float[Tensor, " F"], *, fovy_deg: float, distance: float, size: int
) -> tuple[Cameras, Float[Tensor, " F"] | None]:
    """The camera, and the time of the scene if key frames give it, at each frame of a video.

    Between key frames all values follow monotone cubics: smooth, without overshoot, at rest at both ends of the path
    and between equal values. After the last key frame the camera is fixed.

    Args:
        frames: key frames with rising `at`.
        seconds: times of the video frames, seconds.
        fovy_deg: full vertical field of view, degrees.
        distance: distance of the camera from the origin at zoom 1, normalized units.
        size: height and width of the images, pixels.

    Returns:
        Cameras [F, 1], and times in [0, 1] or None.
    """
    at = np.array([frame.at for frame in frames])

    def follow(values: Sequence[float]) -> Float[Tensor, " F"]:
        return torch.from_numpy(_interpolate(at, np.array(values), seconds.double().numpy())).float()

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
            raise ValueError(f"{where} must only have the keys {', '.join(names)}, got {name!r}. Remove it.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: {name} must be a number, got {value!r}.")
    if "at" not in entry:
        raise ValueError(f"{where} must have the key 'at', the time in the video in seconds. Add it.")
    return {name: float(value) for name, value in entry.items()}


def _interpolate(
    at: Float[np.ndarray, " K"], values: Float[np.ndarray, " K"], seconds: Float[np.ndarray, " F"]
) -> Float[np.ndarray, " F"]:
    """Monotone cubic interpolation (PCHIP, Fritsch and Butland 1984), constant outside the key frames."""
    from scipy.interpolate import PchipInterpolator

    # Equal values beyond both ends make the slopes there 0, and a single key frame a constant.
    knots = np.concatenate((at[:1] - 1, at, at[-1:] + 1))
    padded = np.concatenate((values[:1], values, values[-1:]))
    return PchipInterpolator(knots, padded)(np.clip(seconds, at[0], at[-1]))
