"""Animated Gaussians in one file, .splat4d, by the encoder of the package splats4d (MIT; extra `splat4d`).

The encoder (https://github.com/adamraudonis/splats4D) takes one .splat file per frame whose rows are the same
Gaussians, keeps what does not change once, stores the rest as differences, and decodes every frame to check its bounds
before it succeeds. Colors are of degree 0, and frames follow each other at one rate.
"""

import json
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import install_command, tracked
from ds4d.export.manifest import frame_rate
from ds4d.export.single_frame import check_single_frame
from ds4d.export.splat import splat_records
from ds4d.geometry import UpAxis, set_up_axis, to_world
from ds4d.io import atomic_path
from ds4d.scene import BakedGaussians, Scene, Timeline
from ds4d.shapes.gaussian_files import read_splat
from ds4d.types import RawGaussians, Similarity

_ENCODER = "splat4d"
_POSITION = 0.001  # largest errors: of positions, in diameters of the object,
_COLOR = 4  # of colors and opacities, in 255ths,
_ROTATION = 4  # of the components of quaternions, in 128ths,
_SCALE = 5  # and of standard deviations, percent
_LEVEL = 19  # of zstd, the highest without a larger window


@torch.no_grad()
def write_splat4d(scene: Scene, path: str | Path, times: Float[Tensor, " T"], *, up: UpAxis | None = None) -> None:
    """Writes a scene as animated Gaussians, atomically; no value is farther from the scene's than the bounds above.

    Args:
        scene: the scene to write; view-dependent color is reduced to its mean.
        path: the file (.splat4d).
        times: times of the frames, in [0, 1], rising. The format has one frame rate: times that are not evenly spaced
            are replaced by as many that are, from the first to the last.
        up: up axis of the output world; None keeps that of the input.

    Raises:
        ImportError: the encoder is not installed.
        ValueError: a value is NaN or infinite.
        RuntimeError: the encoder failed.
    """
    encoder = _find_encoder(f"writing {path}")
    rate = frame_rate(times.double() * scene.timeline.duration)
    if rate is None and len(times) > 1:
        times = torch.linspace(float(times[0]), float(times[-1]), len(times))
        rate = (len(times) - 1) / (float(times[-1] - times[0]) * scene.timeline.duration)
    world, previous = set_up_axis(scene.world, up), None
    with tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
        for index, time in enumerate(tracked(times.split(1), "writing the frames")):
            raw = to_world(scene.raw_at(time.to(scene.device)).at_time(0), world)
            active = check_single_frame(raw, "write_splat4d", path).activate()
            quats = active.quats
            if previous is not None:  # q and -q are one rotation; a sign that changes would be stored as motion
                quats = torch.where((quats * previous).sum(-1, keepdim=True) < 0, -quats, quats)
            previous = quats
            splat_records(active, quats).tofile(Path(folder) / f"frame_{index:06d}.splat")
        with atomic_path(path) as temporary:
            bounds = {
                "--pos-mm": 1000 * _POSITION / world.scale,  # its meters are our units
                "--color-levels": _COLOR,
                "--rot-steps": _ROTATION,
                "--scale-pct": _SCALE,
                "--zstd-level": _LEVEL,
                "--fps": rate or 1,
            }
            options = [str(word) for pair in bounds.items() for word in pair]
            _run([encoder, "encode", "--input", folder, "--output", str(temporary), *options], path)


def read_splat4d(path: str | Path) -> BakedGaussians:
    """The frames of a file, in its world; row i is the same Gaussian in all of them, in the order of the file.

    Raises:
        ImportError: the decoder is not installed.
        ValueError: the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} must be a .splat4d file, got nothing there. Check the path.")
    decoder, frames = _find_encoder(f"reading {path}"), []
    try:
        header, _ = json.JSONDecoder().raw_decode(_run([decoder, "info", str(path)], path))
        with tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
            for index in range(header["t"]):
                file = Path(folder) / "frame.splat"
                _run([decoder, "decode", str(path), "--frame", str(index), "--output", str(file)], path)
                frames.append(read_splat(file))
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} must be a valid .splat4d file, got one that cannot be read: {error}") from error
    raw = RawGaussians(
        **{name: torch.stack([getattr(f, name) for f in frames]) for name in RawGaussians.__dataclass_fields__}
    )
    count = len(frames)
    times = tuple(torch.linspace(0, 1, count).tolist()) if count > 1 else (0.0,)
    timeline = Timeline(times, max(count - 1, 1) / header["fps"], loops=False)
    return BakedGaussians(raw, timeline, Similarity.identity())


def _find_encoder(purpose: str) -> str:
    scripts = Path(sysconfig.get_path("scripts"))  # not on the search path of an environment that is not activated
    found = shutil.which(_ENCODER) or shutil.which(_ENCODER, path=str(scripts))
    if found is None:
        raise ImportError(f"{purpose} needs splats4d. Install it with: {install_command('splat4d')}")
    return found


def _run(command: list[str], path: str | Path) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("Error")), done.stderr[-200:])
        raise RuntimeError(f"{_ENCODER} {command[1]} failed for {path}: {reason}")
    return done.stdout
