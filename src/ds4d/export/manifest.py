"""The manifest of a numbered sequence: what its files hold, when each is shown, and in which axes and units.

`manifest.json` lies beside the files, and players or converters read the speed from it instead of asking for it:

    version            1
    generator          name and version of ds4d
    format             a key of `ds4d.export.FORMATS`
    fps                frames per second, or null if the times are not evenly spaced
    duration_seconds   of the whole clip, from time 0 to time 1
    loops              whether time 1 shows what time 0 shows
    gaussians          number of Gaussians; `rows` says whether row i is the same Gaussian in all files
    units              "input": those of the run's input, and how long the radius of the object's ball is in them
    axes               up and front (from the object towards its viewer), in the axes of the files, and their handedness
    frames             file, time in [0, 1] and seconds of each frame
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ds4d import __version__
from ds4d.io import atomic_path
from ds4d.scene import Timeline
from ds4d.types import Similarity

MANIFEST = "manifest.json"
VERSION = 1

_RADIUS = 0.5  # of the ball around the object in normalized space


def describe_sequence(
    format: str,
    files: Sequence[Path],
    times: Float[Tensor, " T"],
    timeline: Timeline,
    world: Similarity,
    *,
    gaussians: int,
    same_rows: bool,
    mirrored: bool = False,
) -> dict[str, Any]:
    """What the manifest says about a sequence.

    Args:
        format: name of the format.
        files: the files, all in one folder.
        times: time of each file, in [0, 1].
        timeline: frames, duration and loop of the scene.
        world: similarity from the world of the files to normalized space.
        gaussians: number of Gaussians in each file.
        same_rows: whether row i is the same Gaussian in all files.
        mirrored: whether z is negated in the files.
    """
    seconds = times.double() * timeline.duration
    return {
        "version": VERSION,
        "generator": f"ds4d {__version__}",
        "format": format,
        "fps": frame_rate(seconds),
        "duration_seconds": timeline.duration,
        "loops": timeline.loops,
        "gaussians": gaussians,
        "rows": "same" if same_rows else "sorted",
        "units": {"length": "input", "object_radius": round(_RADIUS / world.scale, 6)},
        "axes": {
            "up": _in_world(world, 1, mirrored),
            "front": _in_world(world, 2, mirrored),
            "handedness": "left" if mirrored else "right",
        },
        "frames": [
            {"file": file.name, "time": round(time, 6), "seconds": round(second, 6)}
            for file, time, second in zip(files, times.tolist(), seconds.tolist(), strict=True)
        ],
    }


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """Writes the manifest, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def frame_rate(seconds: Tensor) -> float | None:
    """Frames per second of evenly spaced, rising moments; None for others, or a single one."""
    steps = seconds.diff()
    if len(steps) == 0 or not (steps.min() > 0 and steps.max() < 1.01 * steps.min()):
        return None
    return round(1 / float(steps.mean()), 6)


def _in_world(world: Similarity, axis: int, mirrored: bool) -> list[float]:
    """An axis of normalized space (+y is up, +z is front) in the axes of the files."""
    x, y, z = world.rotation[axis].tolist()
    return [round(value, 6) + 0.0 for value in (x, y, -z if mirrored else z)]
