"""A whole run from Python in one call."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ds4d.api.scene import DynamicScene
from ds4d.config import GenerateConfig
from ds4d.core import Degraded, DeviceName, Warned, notify
from ds4d.pipeline import Event, FileWritten, Finished, Resolved, StageStarted, iter_run
from ds4d.runs import Provenance, RunMetrics
from ds4d.training import StepDone

_LOGGER = logging.getLogger("ds4d")
_LOGGED_STEPS = 10  # of all steps of training


@dataclass(frozen=True)
class RunResult:
    """What a run has made.

    Attributes:
        folder: folder of the run, with images, videos and the report.
        scene: the fitted scene.
        metrics: the content of metrics.json.
    """

    folder: Path
    scene: DynamicScene
    metrics: RunMetrics

    @property
    def provenance(self) -> Provenance:
        """What the parts of the run worked with: views, features, initialization, LPIPS, SDS."""
        return self.metrics.provenance

    @property
    def degradations(self) -> tuple[Degraded, ...]:
        """Parts that were replaced by something weaker, or left out."""
        return self.metrics.degradations


def run(
    input: str | PathLike[str],
    output: str | PathLike[str],
    *,
    preset: str | None = None,
    config: GenerateConfig | str | PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: DeviceName = "auto",
    resume: bool = False,
    allow_missing_weights: bool = False,
    gpus: int = 1,
) -> RunResult:
    """Fits a dynamic scene to a video or to views.

    Stages, steps and files are logged at level INFO by the logger `ds4d`, degradations and warnings at level WARNING;
    `iter_run` yields them as events instead.

    Args:
        input: a video file, a folder of its frames, or a folder of views (see `ds4d.load_views`).
        output: folder of the run, new or empty unless `resume` is set.
        preset: settings to start from: `draft`, `tiny`, `cpu`, `fast` or `paper`; by default `fast` on CUDA, else
            `cpu`.
        config: settings to start from in place of a preset: a `GenerateConfig`, or the config.json of an earlier run.
        overrides: settings that differ, by dotted names: {"training.dynamic_steps": 2000, "views.size": 256}.
        seed: random seed; by default that of the settings, 0 in presets.
        device: device to work on; `auto` uses CUDA where it is available, else the CPU.
        resume: continue the run in `output`, which was started with the same input and settings.
        allow_missing_weights: run although weights of pretrained networks are missing, as the preset `paper` needs
            them; `RunResult.degradations` has each part that is replaced or left out. A network that the settings name,
            such as `views.source="zero123plus"`, is needed in any case.
        gpus: number of GPUs that share the work of the fit; with the device `cpu`, of processes.

    Raises:
        ValueError: the input, the settings or the output folder are unfit, or weights are missing; the message names
            what and the fix.
        ImportError: an optional package that the device or the settings need is not installed.
        TrainingDiverged: a loss became NaN or Inf.
        RankLostError: a process of the run on another GPU has ended.
    """
    metrics = None
    for event in iter_run(
        input,
        output,
        preset=preset,
        config=config,
        overrides=overrides,
        seed=seed,
        device=device,
        resume=resume,
        allow_missing_weights=allow_missing_weights,
        gpus=gpus,
    ):
        _log(event)
        if isinstance(event, Finished):
            metrics = event.metrics
    assert metrics is not None  # the last event of a run that was not interrupted
    return RunResult(Path(output), DynamicScene.load(output, device), metrics)


def _log(event: Event) -> None:
    if isinstance(event, Degraded | Warned):
        notify(event)
    elif isinstance(event, StageStarted):
        _LOGGER.info("stage: %s", event.name)
    elif isinstance(event, Resolved):
        _LOGGER.info("%s: %s", event.part, event.value)
    elif isinstance(event, FileWritten):
        _LOGGER.info("wrote %s", event.path)
    elif isinstance(event, StepDone) and event.step % max(1, event.total_steps // _LOGGED_STEPS) == 0:
        _LOGGER.info("step %d of %d, loss %.4f", event.step, event.total_steps, event.loss)
