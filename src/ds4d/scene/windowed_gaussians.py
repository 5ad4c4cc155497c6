"""A long clip as windows of frames, of which a few are in memory at a time.

`windows.json` says which frames each window shows; `windows/0000`, `windows/0001`, ... hold their scenes
(`ds4d.scene.files`). All have the same canonical Gaussians, so that a Gaussian has the same row in each. Over the
frames that two windows share, the first is blended into the second.

A window may hold more Gaussians than its neighbor, which follow those that all windows share. In the clip each has a
row of its own; in windows without it, it rests where it is first seen, and is transparent.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import check_ranges, from_dict, to_dict
from ds4d.io import atomic_path, read_json
from ds4d.scene.base import Scene, Timeline, check_times
from ds4d.scene.files import WorldRecord, check_timeline, check_world
from ds4d.scene.lifetimes import DEAD_LOGIT
from ds4d.types import Gaussians, RawGaussians, Similarity

FORMAT_VERSION = 1
_FILE = "windows.json"
_IN_MEMORY = 2  # windows: those of a joint


@dataclass(frozen=True)
class WindowsRecord:
    """Content of windows.json.

    Attributes:
        format: version of the format.
        num_gaussians: number of Gaussians.
        windows: first and last frame of each window, in the order of time; neighbors share frames.
        timeline: times of all frames.
        world: similarity from world space to normalized space.
        added: which of the Gaussians that not all windows hold each window holds: the first of them and the one after
            the last, counted from those that all hold. None where all windows hold all.
    """

    format: int
    num_gaussians: int
    windows: tuple[tuple[int, ...], ...]
    timeline: Timeline
    world: WorldRecord
    added: tuple[tuple[int, ...], ...] | None = None

    @property
    def num_shared(self) -> int:
        """Number of Gaussians that all windows hold; they come first."""
        return self.num_gaussians - max((end for _, end in self.added or ()), default=0)

    def __post_init__(self) -> None:
        check_ranges(self, num_gaussians="[1, 100000000]")
        check_timeline(self.timeline)
        check_world(self.world)
        flat = [frame for window in self.windows for frame in window]
        are_pairs = len(self.windows) > 0 and all(len(window) == 2 and window[0] < window[1] for window in self.windows)
        is_joined = are_pairs and all(b[0] < a[1] < b[1] and a[0] < b[0] for a, b in itertools.pairwise(self.windows))
        alone = zip(self.windows, self.windows[2:], strict=False)  # no frame is in three
        if not is_joined or not all(a[1] < c[0] for a, c in alone):
            raise ValueError(
                f"windows must be pairs of frames, each sharing some with the next, got {self.windows[:4]}."
            )
        if (flat[0], flat[-1]) != (0, len(self.timeline.times) - 1):
            raise ValueError(f"windows must be of all {len(self.timeline.times)} frames, got {flat[0]} to {flat[-1]}.")
        if self.added is not None:
            are_ranges = all(len(rows) == 2 and 0 <= rows[0] <= rows[1] for rows in self.added)
            if not are_ranges or len(self.added) != len(self.windows) or self.num_shared < 1:
                raise ValueError(f"added must be a range of Gaussians for each window, got {self.added[:4]}.")


def window_folder(folder: Path, index: int) -> Path:
    """The folder of a window in that of the clip."""
    return folder / "windows" / f"{index:04d}"


def windows_file(folder: Path) -> Path:
    """The path of windows.json, which is there when all windows are."""
    return folder / _FILE


def write_windows(folder: Path, record: WindowsRecord) -> None:
    """Writes windows.json, which marks the windows as complete."""
    content = to_dict(record)
    if record.added is None:
        content.pop("added")
    with atomic_path(windows_file(folder), durable=True) as path:
        path.write_text(json.dumps(content), encoding="utf-8")


def read_windows(folder: Path) -> WindowsRecord:
    """Reads windows.json.

    Raises:
        ValueError: the file is damaged, or of another format version.
    """
    path = windows_file(folder)
    try:
        content = read_json(path)
        version = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be the json of a scene in windows, got {error!r}. Generate it again.") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} must have format {FORMAT_VERSION}, got {version}. Use a newer ds4d, which reads it.")
    try:
        return from_dict(WindowsRecord, content)
    except ValueError as error:
        raise ValueError(f"{path} must be the json of a scene in windows, but {error}") from error


class WindowedGaussians:
    """A dynamic object in windows of frames, read from the disk when they are needed.

    Args:
        folder: folder with windows.json.
        load: reads the scene of one window from its folder.
        device: device of the tensors.

    Raises:
        ValueError: windows.json is damaged, or of another format version.
    """

    def __init__(
        self, folder: Path, load: Callable[[Path, torch.device | str], Scene], device: torch.device | str = "cpu"
    ) -> None:
        record = read_windows(folder)
        self.timeline = record.timeline
        self.world: Similarity = record.world.similarity()
        self.num_gaussians = record.num_gaussians
        self._num_shared, self._added = record.num_shared, record.added
        self._resting: dict[str, Tensor] | None = None
        self._folder = folder
        self._device = torch.device(device)
        times = torch.tensor(record.timeline.times)
        self._starts, self._ends = times[torch.tensor(record.windows).T.contiguous()]
        self._window = lru_cache(_IN_MEMORY)(lambda index: load(window_folder(folder, index), device))

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self._device

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; normalized space."""
        check_times(times)
        times = times.cpu()
        later = torch.searchsorted(self._starts, times.contiguous(), right=True).clamp_min(1) - 1
        earlier = (later - 1).clamp_min(0)
        start, end = self._starts[later], self._ends[earlier]
        progress = ((times - start) / (end - start).clamp_min(1e-12)).clamp(0, 1)
        weight = progress * progress * (3 - 2 * progress)  # smoothstep: no kink where a joint begins or ends
        shared = ((later > 0) & (times < end)).nonzero().squeeze(1)
        parts = self._evaluated(later, times)
        if len(shared):
            firsts = self._evaluated(earlier[shared], times[shared])
            if self._added is not None:
                self._fade(parts, firsts, shared, earlier[shared], later[shared], weight[shared])
            _blend_in(parts, firsts, shared.to(self._device), weight[shared].to(self._device))
        return RawGaussians(**parts)

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Activated Gaussians, ready to be rendered, at any times in [0, 1]; leading axis T, normalized space."""
        return self.raw_at(times).activate()

    def _evaluated(self, windows: Int[Tensor, " T"], times: Float[Tensor, " T"]) -> dict[str, Tensor]:
        """The raw Gaussians at times, each by its window, by name; a color that no window changes has no time axis."""
        parts: dict[str, Tensor] = {}
        for window in windows.unique().tolist():
            rows = (windows == window).nonzero().squeeze(1)
            start, end = self._starts[window], self._ends[window]
            local = ((times[rows] - start) / (end - start)).clamp(0, 1)
            raw = self._window(window).raw_at(local.to(self._device))
            for name, values in self._completed(window, raw).items():
                if name == "sh" and values.ndim == 3:
                    parts[name] = values
                    continue
                if name not in parts:
                    parts[name] = values.new_empty(len(times), *values.shape[1:])
                parts[name][rows.to(self._device)] = values
        return parts

    def _completed(self, window: int, raw: RawGaussians) -> dict[str, Tensor]:
        """Raw values of a window by name, with rows for the Gaussians that it does not hold."""
        own = range(0) if self._added is None else range(*self._added[window])
        if raw.num_gaussians != self._num_shared + len(own):
            raise ValueError(
                f"{window_folder(self._folder, window)} must hold {self._num_shared + len(own)} Gaussians as "
                f"{windows_file(self._folder)} says, got {raw.num_gaussians}. Generate the scene again."
            )
        values = {name: getattr(raw, name) for name in RawGaussians.__dataclass_fields__}
        if raw.num_gaussians == self.num_gaussians:
            return values
        for name, rest in self._rest().items():
            axis = values[name].ndim - rest.ndim  # that of the Gaussians
            held, added = values[name].split((self._num_shared, len(own)), axis)
            others = rest.expand(*held.shape[:axis], *rest.shape).clone()
            others.narrow(axis, own.start, len(own)).copy_(added)
            values[name] = torch.cat((held, others), axis)
        return values

    def _rest(self) -> dict[str, Tensor]:
        """The Gaussians that not all windows hold, where they rest in the others: at the joint where they appear."""
        if self._resting is None:
            count, resting, missing = self.num_gaussians - self._num_shared, {}, set()
            added = [range(*rows) for rows in self._added or ()]
            missing.update(range(count))
            for window in sorted(range(len(added)), key=lambda index: len(added[index])):
                rows = sorted(missing.intersection(added[window]))
                if not rows:
                    continue
                missing.difference_update(rows)
                is_later = window > 0 and rows[0] not in added[window - 1]
                raw = self._window(window).raw_at(torch.tensor([0.0 if is_later else 1.0], device=self._device))
                raw, places = raw.at_time(0), torch.tensor(rows, device=self._device)
                for name in RawGaussians.__dataclass_fields__:
                    values = getattr(raw, name)
                    resting.setdefault(name, values.new_zeros(count, *values.shape[1:]))
                    resting[name][places] = values[self._num_shared + places - added[window].start]
            resting["opacity_logits"].fill_(DEAD_LOGIT)
            self._resting = resting
        return self._resting

    def _fade(
        self,
        parts: dict[str, Tensor],
        firsts: dict[str, Tensor],
        rows: Int[Tensor, " B"],
        earlier: Int[Tensor, " B"],
        later: Int[Tensor, " B"],
        weight: Float[Tensor, " B"],
    ) -> None:
        """Makes Gaussians that one window of a joint does not hold those of the other, faded in or out, in place."""
        held = torch.zeros(len(self._starts), self.num_gaussians, dtype=torch.bool)
        held[:, : self._num_shared] = True
        for window, (start, end) in enumerate(self._added or ()):
            held[window, self._num_shared + start : self._num_shared + end] = True
        in_first, in_second = held[earlier].to(self._device), held[later].to(self._device)
        weight, rows = weight[:, None].to(self._device), rows.to(self._device)
        shares = torch.where(in_first & in_second, 1.0, torch.where(in_second, weight, 1 - weight))
        for name, values in firsts.items():
            if name == "sh" and values.ndim == 3:
                continue
            seconds, axes = parts[name][rows], (...,) + (None,) * (values.ndim - 2)
            firsts[name] = torch.where(in_first[axes], values, seconds)
            parts[name][rows] = torch.where(in_second[axes], seconds, values)
            if name == "opacity_logits":
                firsts[name] = _faded(firsts[name], shares)
                parts[name][rows] = _faded(parts[name][rows], shares)


def _faded(logits: Float[Tensor, "B N"], shares: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Logits of opacities times factors in [0, 1]; where the factor is 1, the logits as they are."""
    faded = (logits.sigmoid() * shares).logit().clamp_min(DEAD_LOGIT)
    return torch.where(shares == 1, logits, faded)


def _blend_in(
    parts: dict[str, Tensor], firsts: dict[str, Tensor], rows: Int[Tensor, " B"], weight: Float[Tensor, " B"]
) -> None:
    """Blends some rows of raw values, in place, with those of an earlier window.

    Args:
        parts: raw values by name, of a later window; with a leading axis of times.
        firsts: those of the earlier window at `rows`.
        rows: rows of `parts` to be blended.
        weight: weight of the later window in [0, 1].
    """
    for name, values in firsts.items():
        if name == "sh" and values.ndim == 3:
            continue
        seconds = parts[name][rows]
        if name == "quats":  # q and -q are one rotation
            opposite = (values * seconds).sum(-1, keepdim=True) < 0
            values = torch.where(opposite, -values, values)
        weights = weight.reshape(-1, *[1] * (values.ndim - 1))
        parts[name][rows] = torch.lerp(values, seconds, weights.expand_as(values))
