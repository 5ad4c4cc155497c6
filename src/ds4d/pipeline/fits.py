"""The fit of a clip, as a whole or in windows of frames.

A HexPlane has a fixed number of steps to learn all frames in, and its time axis grows with the clip. A long clip is
therefore divided into windows of some hundred frames (`ds4d.training.windows`), which share a few frames with their
neighbors:

1. The window around the clip's middle frame is fitted as any clip: its static stage makes the canonical Gaussians.
2. The windows after it, then those before it, are fitted one after another. Each has the same canonical Gaussians, and
   a motion (HexPlane, heads, fusion) and a view correction of its own, which start from those of its neighbor
   (`ds4d.training.continuation`); training spreads from the frames that both show. Where they do not suffice, a window
   may add some of its own (`ds4d.training.births`), which those after it in this order hold as well.
3. What each window leaves is its scene and its checkpoint in a folder of its own. A run that is resumed skips windows
   that are complete, and continues the one that is not. `windows.json` marks all of them as complete.
4. `ds4d.scene.WindowedGaussians` reads them again, two at a time, and blends neighbors over the frames that they share.

Memory is that of the longest window: one trainer exists at a time, and images, views and features of all frames are in
temporary files (`ds4d.core.large_arrays`).
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from ds4d.config import GenerateConfig
from ds4d.init import initial_gaussians, normalize_scene
from ds4d.pipeline.events import Event, FileWritten, TrainingStarted
from ds4d.pipeline.setup import check_image_size, load_lpips, make_trainer
from ds4d.rendering import renderer_for
from ds4d.runs import RunFolder
from ds4d.scene import Timeline, WindowsRecord, write_windows
from ds4d.scene.files import WorldRecord
from ds4d.scene.windowed_gaussians import FORMAT_VERSION, windows_file
from ds4d.shapes.registration import Registration
from ds4d.training import Event as TrainingEvent
from ds4d.training import (
    LossLog,
    Ranks,
    StepDone,
    TensorBoardLog,
    Trainer,
    canonical_gaussians,
    canonical_lifetimes,
    continue_from,
    divide_frames,
    has_checkpoint,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from ds4d.types import MultiViewVideo, PointCloud, Renderer

_CHECKPOINTS = 0.02  # of the time of training at most, where checkpoints are written by time


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves apart from its files.

    Attributes:
        video: the training views, with cameras in normalized space.
        renderer: renderer for the device of the fit.
        device: device of the fit.
        steps: number of optimization steps.
        num_gaussians: number of Gaussians at the end.
        seconds: training time, seconds.
        processes: number of processes that trained together, each on a GPU of its own.
    """

    video: MultiViewVideo
    renderer: Renderer
    device: torch.device
    steps: int
    num_gaussians: int
    seconds: float
    processes: int = 1


@runtime_checkable
class ClipFit(Protocol):
    """A fit that is ready to begin or to go on.

    Attributes:
        uses_lpips: whether the loss `lpips` is used.
        is_guided: whether score distillation is used.
    """

    uses_lpips: bool
    is_guided: bool

    def run(self) -> Generator[Event, None, Fitted]:
        """Takes the steps that are left, and writes the scene into the folder of the run."""
        ...


class WholeFit:
    """The fit of a clip as a whole.

    Args:
        trainer: trainer, whose state may have been loaded from a checkpoint.
        config: settings of the run.
        folder: folder of the run.
    """

    def __init__(self, trainer: Trainer, config: GenerateConfig, folder: RunFolder) -> None:
        self.uses_lpips = trainer.objective.uses_lpips
        self.is_guided = trainer.guide is not None
        self._trainer, self._config, self._folder = trainer, config, folder

    def run(self) -> Generator[Event, None, Fitted]:
        """Takes the steps that are left, and writes the scene into the folder of the run."""
        trainer, folder = self._trainer, self._folder
        yield TrainingStarted(trainer.scene, trainer.video)
        yield from _take_steps(trainer, self._config, folder, folder.checkpoint)
        scene = trainer.scene
        if trainer.ranks.is_first:
            scene.save(folder.path)
            yield FileWritten(folder.path / "scene.safetensors")
        return Fitted(
            trainer.video,
            trainer.renderer,
            scene.device,
            trainer.step,
            scene.num_gaussians,
            trainer.seconds,
            trainer.ranks.count,
        )


class WindowedFit:
    """The fit of a clip in windows of frames.

    Args:
        video: multi-view video with cameras in world space.
        windows: frames of each window, in the order of time (`divide_frames`).
        config: settings of the run.
        device: device of training.
        folder: folder of the run.
        registration: registered mesh to start from, if any.
        points: surface points of the object in the middle frame, in world space, where they are known.
        ranks: this process among those that train together (`Trainer`).

    Raises:
        ValueError: the images are too small, the masks leave no object, or the file of initial points is unfit.
    """

    def __init__(
        self,
        video: MultiViewVideo,
        windows: Sequence[range],
        config: GenerateConfig,
        device: torch.device,
        folder: RunFolder,
        registration: Registration | None = None,
        points: PointCloud | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self._ranks = ranks or Ranks()
        self._lpips = load_lpips(config.training)
        check_image_size(video, self._lpips)
        self.uses_lpips = self._lpips is not None
        self.is_guided = bool(config.guidance.weight)
        self._normalization = normalize_scene(video, config.init.hull, device=device)
        self._windows, self._config, self._device, self._folder = windows, config, device, folder
        self._registration, self._points = registration, points

    def run(self) -> Generator[Event, None, Fitted]:
        """Takes the steps that are left, and writes the scenes of the windows and then `windows.json`."""
        steps, seconds = 0, 0.0
        counts: dict[int, int] = {}  # of Gaussians by window; that of the first is shared by all
        for index, neighbor in fit_order(self._windows, self._normalization.video.middle):
            if not self._ranks.from_first(self._folder.window(index).is_fitted):
                added = 0 if neighbor is None else counts[neighbor] - min(counts.values())
                yield from self._fit(index, neighbor, steps, added)
            state = self._state_of(index)
            steps += state["step"]
            seconds += state["seconds"]
            counts[index] = len(state["scene"]["gaussians.means"])
        count, added = count_gaussians([counts[index] for index in range(len(counts))])
        normalization = self._normalization
        video = normalization.video
        fitted = Fitted(video, renderer_for(self._device), self._device, steps, count, seconds, self._ranks.count)
        if not self._ranks.is_first:
            return fitted
        record = WindowsRecord(
            format=FORMAT_VERSION,
            num_gaussians=count,
            windows=tuple((window.start, window.stop - 1) for window in self._windows),
            timeline=Timeline(tuple(video.times.tolist()), video.duration, video.loops),
            world=WorldRecord.of(normalization.world),
            added=added,
        )
        write_windows(self._folder.path, record)
        yield FileWritten(windows_file(self._folder.path))
        return fitted

    def _state_of(self, index: int) -> dict[str, Any]:
        """The state in which a window was left, which the first process reads."""
        path = self._folder.window(index).checkpoint
        return self._ranks.from_first(read_checkpoint(path) if self._ranks.is_first else None)

    def _fit(self, index: int, neighbor: int | None, steps_before: int, added: int) -> Iterator[Event]:
        """Fits one window, from its checkpoint if there is one; the neighbor is fitted, if there is one.

        `added` is the number of Gaussians that windows have added up to the neighbor.
        """
        trainer = self._first_trainer(index) if neighbor is None else self._next_trainer(index, neighbor, added)
        folder, training = self._folder.window(index), self._config.training
        if self._ranks.is_first and has_checkpoint(folder.checkpoint):
            load_checkpoint(trainer, folder.checkpoint)
        all_steps = training.static_steps + len(self._windows) * training.dynamic_steps
        yield TrainingStarted(trainer.scene, trainer.video)
        yield from _take_steps(trainer, self._config, self._folder, folder.checkpoint, steps_before, all_steps)
        if self._ranks.is_first:
            trainer.scene.save(folder.path)

    def _first_trainer(self, index: int) -> Trainer:
        config = self._config
        normalization = replace(self._normalization, video=self._normalization.video.part(self._windows[index]))
        generator = torch.Generator().manual_seed(config.seed)
        initial = initial_gaussians(normalization, config.init, generator, self._registration, self._points)
        return make_trainer(normalization, initial, config, self._device, lpips=self._lpips, ranks=self._ranks)

    def _next_trainer(self, index: int, neighbor: int, added: int) -> Trainer:
        """A trainer that continues the neighbor."""
        state = self._state_of(neighbor)
        window, before, video = self._windows[index], self._windows[neighbor], self._normalization.video
        normalization = replace(self._normalization, video=video.part(window))
        # What the neighbor has learned needs neither a static stage nor a coarse one.
        training = replace(self._config.training, static_steps=0, low_resolution_fraction=0.0)
        left = max(0, self._config.windows.new_gaussians - added)
        windows = replace(self._config.windows, new_gaussians=left)
        shared = before.stop - window.start if neighbor < index else window.stop - before.start
        seconds = float(video.times[window.start] - video.times[before.start]) * video.duration
        trainer = make_trainer(
            normalization,
            canonical_gaussians(state),
            replace(self._config, training=training, windows=windows),
            self._device,
            lpips=self._lpips,
            known_frame=shared - 1 if neighbor < index else len(window) - shared,
            lifetimes=canonical_lifetimes(state, seconds),
            ranks=self._ranks,
        )
        start, end = (float(video.times[frame]) for frame in (before.start, before.stop - 1))
        first, last = (float(video.times[frame]) for frame in (window.start, window.stop - 1))
        continue_from(trainer, state, ((first - start) / (end - start), (last - start) / (end - start)))
        return trainer


def choose_windows(video: MultiViewVideo, config: GenerateConfig) -> list[range]:
    """The windows that a clip is fitted in, in the order of time: one, if it is fitted as a whole.

    Args:
        video: multi-view video.
        config: settings of the run.

    Raises:
        ValueError: windows are asked for where they cannot be used.
    """
    windows, count = config.windows, video.num_times
    if windows.mode == "off" or config.field is None or (windows.mode == "auto" and count <= windows.above):
        return [range(count)]
    if not video.cameras.is_static or not video.valid.all():
        if windows.mode == "auto":
            return [range(count)]
        found = "views without some frames" if video.cameras.is_static else "one that moves"
        raise ValueError(
            f"--windows on needs cameras that do not move and all frames of every view, got {found}: a window alone "
            "would not show all sides. Leave it out."
        )
    divided = divide_frames(count, windows)
    if len(divided) > 1 and config.field.root_rotation == "on":
        raise ValueError(
            "--field.root-rotation on needs a clip that is fitted as a whole, got one that is fitted in windows. "
            "Add --windows off, or leave it out."
        )
    return divided


def describe_windows(windows: Sequence[range]) -> str:
    """Windows in a few words."""
    shared = windows[0].stop - windows[1].start
    return (
        f"{len(windows)} of up to {max(map(len, windows))} frames, fitted one after another; neighbors share {shared}"
    )


def fit_order(windows: Sequence[range], middle: int) -> list[tuple[int, int | None]]:
    """The order in which windows are fitted: each with the neighbor that it continues.

    Args:
        windows: windows in the order of time.
        middle: the clip's middle frame, which is the middle frame of the first window to be fitted.
    """
    first = next(i for i, window in enumerate(windows) if window.start + len(window) // 2 == middle)
    later = [(index, index - 1) for index in range(first + 1, len(windows))]
    earlier = [(index, index + 1) for index in reversed(range(first))]
    return [(first, None), *later, *earlier]


def count_gaussians(counts: Sequence[int]) -> tuple[int, tuple[tuple[int, int], ...] | None]:
    """The number of Gaussians of a clip whose windows hold these, and which of them each window adds to the shared.

    The first window to be fitted holds those that all windows share. Each window holds those of its neighbor and
    possibly more, so that numbers grow from there in both directions; what is added later in the clip comes first.

    Args:
        counts: number of Gaussians of each window, in the order of time.

    Returns:
        The number, and `WindowsRecord.added`: None where all windows hold the same Gaussians.
    """
    shared = min(counts)
    if max(counts) == shared:
        return shared, None
    later = counts[-1] - shared
    middle = counts.index(shared)
    added = [(later, later + count - shared) for count in counts[:middle]]
    added += [(0, count - shared) for count in counts[middle:]]
    return shared + later + counts[0] - shared, tuple(added)


class _Checkpoints:
    """When the state of a trainer is written: every so many steps, and every so many seconds."""

    def __init__(self, trainer: Trainer, config: GenerateConfig, path: Path) -> None:
        self._trainer, self._config, self._path = trainer, config, path
        self._saved_at, self._cost = trainer.seconds, 0.0

    def is_due(self) -> bool:
        """Whether a checkpoint follows the last step."""
        if self._trainer.step % self._config.checkpoint_every == 0:
            return True
        pause = self._config.checkpoint_seconds
        return pause is not None and self._trainer.seconds - self._saved_at >= max(pause, self._cost / _CHECKPOINTS)

    def save(self) -> None:
        """Writes it."""
        began = time.perf_counter()
        save_checkpoint(self._trainer, self._path)
        self._saved_at, self._cost = self._trainer.seconds, time.perf_counter() - began


def _take_steps(
    trainer: Trainer,
    config: GenerateConfig,
    folder: RunFolder,
    checkpoint: Path,
    steps_before: int = 0,
    all_steps: int | None = None,
) -> Iterator[TrainingEvent]:
    """Takes the steps of a trainer and logs them; leaves a checkpoint at the end and whenever it is interrupted.

    Only the first of several processes writes.

    Args:
        trainer: trainer before any of its steps.
        config: settings of the run.
        folder: folder of the run.
        checkpoint: path of the checkpoint.
        steps_before: steps of windows that were fitted before, which are counted in events and logs.
        all_steps: number of steps of all windows; by default those of the trainer.
    """
    if not trainer.ranks.is_first:
        yield from trainer.run()
        return
    logs: list[LossLog | TensorBoardLog] = [LossLog(folder.log, keep_until=steps_before + trainer.step)]
    if config.log.tensorboard:
        logs.append(TensorBoardLog(folder.path / "tensorboard"))
    checkpoints = _Checkpoints(trainer, config, checkpoint)
    try:
        for event in trainer.run():
            if isinstance(event, StepDone):
                event = replace(event, step=steps_before + event.step, total_steps=all_steps or event.total_steps)
                if event.step % config.log.every == 0:
                    for log in logs:
                        log.write(event)
                if checkpoints.is_due():
                    checkpoints.save()
            yield event
    except GeneratorExit:
        save_checkpoint(trainer, checkpoint)
        raise
    finally:
        for log in logs:
            log.close()
    save_checkpoint(trainer, checkpoint)
