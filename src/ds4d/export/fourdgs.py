"""Animated Gaussians in one file, .4dgs, by the package fourdgs (Apache-2.0; extra `4dgs`).

The format (https://github.com/avala-ai/4dgs) states all Gaussians at keyframes, and between them those that changed,
named by their identities, as differences of whole numbers on one grid. So a reader finds the same Gaussian at all
times, and no difference adds up to an error. Colors are of degree 0; between frames nothing moves.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import install_command, tracked
from ds4d.export.single_frame import check_single_frame
from ds4d.geometry import UpAxis, set_up_axis, to_world
from ds4d.geometry.spherical_harmonics import SH0, rgb_to_sh
from ds4d.io import atomic_path, read_bytes
from ds4d.scene import BakedGaussians, Scene, Timeline
from ds4d.shapes.gaussian_files import byte_logits
from ds4d.types import Gaussians, RawGaussians, Similarity

_FOREVER = 1e6  # seconds: a Gaussian neither appears nor fades within a frame, and the writer takes no infinity
_ROUNDING = 1e-3  # of float32, relative to a bound
_MAX_BYTES = 4 * 2**30
_MOST_ROWS = 50_000_000  # Gaussians of all frames together, which are encoded at once, in some 10 GB


@torch.no_grad()
def write_fourdgs(scene: Scene, path: str | Path, times: Float[Tensor, " T"], *, up: UpAxis | None = None) -> None:
    """Writes a scene as keyframes and changes, atomically.

    Positions, standard deviations, colors and opacities of every frame are compared with the bounds of the file.

    Args:
        scene: the scene to write; view-dependent color is reduced to its mean.
        path: the file (.4dgs).
        times: times of the frames, in [0, 1], rising; each is shown until the next one.
        up: up axis of the output world; None keeps that of the input.

    Raises:
        ImportError: the package is not installed.
        ValueError: a value is NaN or infinite, or the frames are too many to be encoded at once.
        RuntimeError: a frame of the file is farther from the scene than the file states.
    """
    try:
        from fourdgs.keyframe_delta_file import decode_streamed, render_at, write_sequence
        from fourdgs.keyframe_delta_writer import Sample
    except ImportError as error:
        raise ImportError(f"writing {path} needs fourdgs. Install it with: {install_command('4dgs')}") from error
    world = set_up_axis(scene.world, up)
    starts = ((times - times[0]).double() * scene.timeline.duration).tolist()
    duration = starts[-1] + (starts[-1] / (len(starts) - 1) if len(starts) > 1 else 1.0)
    samples = []
    for start, time in zip(starts, tracked(times.split(1), "reading the frames"), strict=True):
        raw = to_world(scene.raw_at(time.to(scene.device)).at_time(0), world)
        active = check_single_frame(raw, "write_fourdgs", path).activate()
        if (rows := len(times) * active.num_gaussians) > _MOST_ROWS:
            raise ValueError(
                f"times x Gaussians must be at most {_MOST_ROWS:,} for {path}, got {rows:,}. "
                "Give fewer times, or export usd or numbered files."
            )
        samples.append(Sample(start, np.arange(active.num_gaussians), _population(active, start, duration)))
    content = write_sequence(samples, duration, library="ds4d")
    decoded = decode_streamed(content)
    for sample in tracked(samples, "comparing the frames"):
        _check(sample.gaussians, render_at(decoded, sample.t0), decoded.grids.steps, f"{path} at {sample.t0:.3f} s")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _population(active: Gaussians, start: float, duration: float) -> Any:
    """The Gaussians of one frame, alive from it on."""
    from fourdgs import GaussianSet

    count = active.num_gaussians
    rgb = (SH0 * active.sh[:, 0] + 0.5).clamp(0, 1)
    return GaussianSet(
        positions=active.means.numpy(),
        scales=active.scales.numpy(),
        rotations=active.quats[:, [1, 2, 3, 0]].numpy(),
        colors=torch.cat((rgb, active.opacities[:, None]), dim=1).numpy(),
        motions=np.zeros((count, 3), np.float32),
        mu_t=np.full(count, start, np.float32),
        sigma_t=np.full(count, _FOREVER, np.float32),
        win_lo=np.zeros(count),
        win_hi=np.full(count, duration),
    )


def _check(wanted: Any, found: dict[str, np.ndarray], steps: Any, what: str) -> None:
    """Compares a frame with half of the steps of the file's grids, the errors that its header states.

    Raises:
        RuntimeError: a position, a standard deviation, a color or an opacity is farther off.
    """
    errors = {
        "positions": (np.abs(found["centers"] - wanted.positions), steps.pos / 2),
        "logarithms of scales": (np.abs(np.log(found["scales"] / wanted.scales)), steps.scale_log / 2),
        "colors": (np.abs(found["rgb"] - wanted.colors[:, :3]), steps.rgb / 2),
        "opacities": (np.abs(found["opacity"] - wanted.colors[:, 3]), steps.alpha / 2),
    }
    for name, (error, bound) in errors.items():
        if error.size and error.max() > bound * (1 + _ROUNDING) + _ROUNDING**2:
            raise RuntimeError(f"{name} of {what} must be within {bound:.2g}, got an error of {error.max():.2g}.")


def read_fourdgs(path: str | Path) -> BakedGaussians:
    """The frames of a file with keyframes and changes, in its world; row i is the same Gaussian in all of them.

    Raises:
        ImportError: the package is not installed.
        ValueError: the file is missing or damaged, or its Gaussians are not the same in all frames.
    """
    try:
        from fourdgs import FourdgsError
        from fourdgs.keyframe_delta_file import decode_streamed, render_at
    except ImportError as error:
        raise ImportError(f"reading {path} needs fourdgs. Install it with: {install_command('4dgs')}") from error
    if not Path(path).is_file():
        raise ValueError(f"{path} must be a .4dgs file, got nothing there. Check the path.")
    try:
        decoded = decode_streamed(read_bytes(path, max_bytes=_MAX_BYTES))
        starts = [chunk.t0 for chunk in decoded.chunks]
        frames = [render_at(decoded, start) for start in starts]
    except (FourdgsError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path} must be a valid .4dgs file, got one that cannot be read: {error}") from error
    if any(not np.array_equal(frame["ids"], frames[0]["ids"]) for frame in frames):
        raise ValueError(f"{path} must hold the same Gaussians in all frames, got some that appear or end.")

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([frame[name] for frame in frames])).float()

    raw = RawGaussians(
        means=stacked("centers"),
        quats=stacked("rotations")[..., [3, 0, 1, 2]],
        log_scales=stacked("scales").log(),
        opacity_logits=byte_logits(stacked("opacity")),
        sh=rgb_to_sh(stacked("rgb"))[..., None, :],
    )
    length = starts[-1] - starts[0]
    times = tuple((start - starts[0]) / length for start in starts) if length else (0.0,)
    return BakedGaussians(raw, Timeline(times, length or 1.0, loops=False), Similarity.identity())
