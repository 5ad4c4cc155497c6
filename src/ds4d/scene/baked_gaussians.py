"""A scene evaluated at its frames: what players, exporters and the viewer read without networks or feature maps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import large_tensor, release_pages, tracked
from ds4d.geometry import nearest_frames
from ds4d.scene.base import Scene, Timeline, check_times
from ds4d.scene.files import check_shapes, mismatch, read_record, read_tensors
from ds4d.types import Gaussians, RawGaussians, Similarity

FRAMES_AT_ONCE = 4  # evaluated together, which bounds the memory
_MOVING = ("means", "quats", "log_scales", "opacity_logits")


class BakedGaussians:
    """A dynamic object as the Gaussians of its frames, interpolated linearly between two frames.

    Args:
        frames: raw Gaussians with a leading axis T; the color may lack that axis if it is constant.
        timeline: times of the frames.
        world: similarity from world space to normalized space.
    """

    def __init__(self, frames: RawGaussians, timeline: Timeline, world: Similarity) -> None:
        self.frames = frames
        self.timeline = timeline
        self.world = world
        self._times = torch.tensor(timeline.times, device=frames.means.device)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.frames.means.device

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; exactly a frame's own at its time."""
        check_times(times)
        low, high, weight = nearest_frames(self._times, times)

        def blend(frames: Tensor) -> Tensor:
            weights = weight.reshape(-1, *[1] * (frames.ndim - 1))
            return torch.lerp(frames[low], frames[high], weights.expand(-1, *frames.shape[1:]))

        sh = blend(self.frames.sh) if self.frames.sh.ndim == 4 else self.frames.sh
        raw = RawGaussians(**{name: blend(getattr(self.frames, name)) for name in _MOVING}, sh=sh)
        release_pages()
        return raw

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Activated Gaussians, ready to be rendered, at any times in [0, 1]; leading axis T, normalized space."""
        return self.raw_at(times).activate()

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> "BakedGaussians":
        """Reads the frames of a scene that `DynamicGaussians.save` wrote.

        Args:
            folder: output folder of `ds4d generate`.
            device: device that the tensors are moved to.

        Raises:
            ValueError: a file is missing, damaged, or of another format version, or a tensor holds NaN or Inf.
        """
        record = read_record(folder)
        path = folder / "baked.safetensors"
        tensors = read_tensors(path)
        try:
            times, count = len(record.timeline.times), record.num_gaussians
            shapes = {"means": (3,), "quats": (4,), "log_scales": (3,), "opacity_logits": ()}
            moving: dict[str, Sequence[int | None]] = {name: (times, count, *shape) for name, shape in shapes.items()}
            colors_move = "sh" in tensors and tensors["sh"].ndim == 4
            colors = (count, record.sh_bases, 3)
            check_shapes(tensors, moving | {"sh": (times, *colors) if colors_move else colors})
            frames = RawGaussians(**tensors)
        except ValueError as error:
            raise mismatch(path, error) from error
        return BakedGaussians(frames.to(device), record.timeline, record.world.similarity())


def bake_at(scene: Scene, times: Float[Tensor, " T"]) -> BakedGaussians:
    """Evaluates a scene once at each time.

    Args:
        scene: scene to evaluate; the result does not refer to it.
        times: times of the frames, rising, in [0, 1]; they need not be the video's own.
    """
    with torch.no_grad():
        batches = tracked(times.to(scene.device).split(FRAMES_AT_ONCE), "evaluating the frames")
        frames = _joined((scene.raw_at(batch) for batch in batches), len(times))
    timeline = replace(scene.timeline, times=tuple(times.tolist()))
    return BakedGaussians(frames, timeline, scene.world)


def _joined(parts: Iterator[RawGaussians], count: int) -> RawGaussians:
    """Gaussians of some frames after another, `count` in all; large if they are. A color without time is kept so."""
    joined: dict[str, Tensor] = {}
    done = 0
    for part in parts:
        moving = {name: getattr(part, name) for name in (*_MOVING, *(("sh",) if part.sh.ndim == 4 else ()))}
        if not joined:
            joined = {"sh": part.sh} | {
                name: large_tensor((count, *values.shape[1:]), values.dtype, values.device)
                for name, values in moving.items()
            }
        end = done + len(part.means)
        for name, values in moving.items():
            joined[name][done:end] = values
        done = end
        release_pages()
    return RawGaussians(**joined)
