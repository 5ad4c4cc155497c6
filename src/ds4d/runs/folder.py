"""The folder of one run: what stands where in it, whose it is, and whether it is whole.

config.json             all settings with the input, written first
video.json               where the images lie in the video they come from, if they do, and its camera
log.jsonl               losses, one json object per line
tensorboard/            the same for TensorBoard, if asked for
checkpoints/            the latest state of the fit; its last one stays
scene.safetensors/json  the fitted scene, baked.safetensors the Gaussians of its frames
contact_sheet.png, loss.png, comparison.mp4, orbit.mp4, front/right/back/left.mp4, middle.ply
saliency.png/mp4         where the real video moves, unless it cannot be told (one frame, or a camera that moves)
metrics.json            figures, versions, what was found about a video; a folder that holds one is whole
report.html             all of the above on one page, made of them at the end
eval.json               scores on views that were not fitted, if asked for later
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from packaging.version import InvalidVersion, Version

from ds4d import __version__
from ds4d.config import GenerateConfig
from ds4d.core import first_difference, from_dict, to_dict
from ds4d.data import ViewsSource
from ds4d.io import atomic_path
from ds4d.preprocess import Finding, VideoCrop
from ds4d.training import read_log

T = TypeVar("T")


@dataclass(frozen=True)
class RunRecord:
    """What a run was asked to do.

    Attributes:
        input: the video or folder it reads.
        device: what it works on; it may be resumed on another.
        config: all settings, as they were asked for.
        views: where its views come from; `auto` until that is known.
        ds4d: the version that wrote it.
    """

    input: Path
    device: str
    config: GenerateConfig
    views: ViewsSource = "auto"
    ds4d: str = __version__

    @property
    def reading(self) -> GenerateConfig:
        """The settings that read the same views on every machine, whatever is at hand there."""
        return replace(self.config, views=replace(self.config.views, views=self.views))


@dataclass(frozen=True)
class Provenance:
    """What a run worked with, in a few words each.

    Attributes:
        views: what they come from.
        features: the extractor's name, or none.
        init: what the first Gaussians come from.
    """

    views: str
    features: str
    init: str


@dataclass(frozen=True)
class RunMetrics:
    """The figures of a whole run.

    Attributes:
        versions: of ds4d and what it stands on, by name.
        used: what the run worked with.
        findings: what was found about a video, the worst first; None where the input is a folder of views.
        device: its name.
        frames: of the clip.
        views: of the clip.
        image: width and height of the fitted images, pixels.
        steps: of the fit.
        num_gaussians: at its end.
        front_psnr: mean over the images of the first view, dB.
        train_psnr: mean over the means of all views, dB.
        front_psnr_by_frame: of each image of the first view, dB; None where there is none.
        seconds: of each stage.
        peak_memory_bytes: by kind of memory, main and gpu.
        registration: how the shape of a file was laid over the views, if the run began with one.
    """

    versions: dict[str, str]
    used: Provenance
    findings: tuple[Finding, ...] | None
    device: str
    frames: int
    views: int
    image: tuple[int, ...]
    steps: int
    num_gaussians: int
    front_psnr: float
    train_psnr: float
    front_psnr_by_frame: tuple[float | None, ...]
    seconds: dict[str, float]
    peak_memory_bytes: dict[str, int]
    registration: dict[str, Any] | None = None


@dataclass(frozen=True)
class EvaluationRecord:
    """Scores of a run on views that it was not fitted to.

    Attributes:
        data: the folder of the views.
        split: name of its transforms file.
        images: how many images were scored.
        total: means over the views by measure; None where nothing could be measured.
        views: the same measures for each view.

    Raises:
        ValueError: a view lacks a measure.
    """

    data: Path
    split: str
    images: int
    total: dict[str, float | None]
    views: dict[str, dict[str, float | None]]

    def __post_init__(self) -> None:
        for view, scores in self.views.items():
            if scores.keys() != self.total.keys():
                raise ValueError(
                    f"EvaluationRecord: views.{view} must hold {', '.join(self.total)}, got {', '.join(scores)}. "
                    "Call ds4d eval again."
                )


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The record of the run."""
        return self.path / "config.json"

    @property
    def video(self) -> Path:
        """The place in the video, of a run that was made of one."""
        return self.path / "video.json"

    @property
    def log(self) -> Path:
        """The losses."""
        return self.path / "log.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The latest state of the fit."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def scene(self) -> Path:
        """What the scene's tensors mean; where it stands, they do too."""
        return self.path / "scene.json"

    @property
    def metrics(self) -> Path:
        """The figures of a finished run."""
        return self.path / "metrics.json"

    @property
    def evaluation(self) -> Path:
        """Scores on views that were not fitted."""
        return self.path / "eval.json"

    @property
    def report(self) -> Path:
        """The whole run on one page."""
        return self.path / "report.html"

    def check_unused(self) -> None:
        """Refuses a folder that holds anything.

        Raises:
            ValueError: it is a file, or holds a run or other things.
        """
        if self.config.is_file():
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got one that holds another run. "
                "Name another folder, or go on with that run by --resume."
            )
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got "
                f"{'one that holds other files' if self.path.is_dir() else 'a file'}. Name another."
            )

    def check_fitted(self) -> None:
        """Refuses a folder that holds no whole scene yet.

        Raises:
            ValueError: it is no folder of a run, or its fit is still running or was stopped.
        """
        if not self.config.is_file():
            found = "no such folder" if not self.path.exists() else "one without a config.json"
            raise ValueError(
                f"run {self.path} must be the output folder of `ds4d generate`, got {found}. Check the path."
            )
        self.check_scene()

    def check_resumable(self, record: RunRecord) -> None:
        """Refuses a folder whose run was asked to do something else.

        Raises:
            ValueError: it holds no run, or one that differs in a setting; the message names the setting.
        """
        if not self.config.is_file():
            raise ValueError(f"output {self.path} must hold a run to resume, got none. Leave --resume out.")
        theirs = read_record(self.config)
        key = first_difference(_compared(theirs), _compared(record))
        if key is not None:
            old, new = _look_up(_compared(theirs), key), _look_up(_compared(record), key)
            raise ValueError(
                f"{key} must be that of the run in {self.path}, {old!r}, to resume it, got {new!r}. "
                "Use the same settings, or name another folder."
            )

    def check_scene(self) -> None:
        """Refuses a folder whose scene is not there yet; other folders without one are named when the scene is read.

        Raises:
            ValueError: its fit is still going on, or was broken off.
        """
        if self.config.is_file() and not self.scene.is_file():
            record, steps = read_record(self.config), read_log(self.log)
            done = steps[-1]["step"] if steps else 0
            raise ValueError(
                f"run {self.path} must be fitted to its end, got step {done} of {record.config.fit.total_steps}. "
                "Wait for it if it is running, or go on with it by the same command with --resume."
            )

    def open(self, record: RunRecord, place: VideoCrop | None = None) -> None:
        """Makes the folder and writes the record into it, with the place of a video's images."""
        self.path.mkdir(parents=True, exist_ok=True)
        if place is not None:
            _write_json(self.video, to_dict(place))
        _write_json(self.config, to_dict(record))

    def read_video_crop(self) -> VideoCrop:
        """Where the run's images lie in their video.

        Raises:
            ValueError: the run was not made of a video, or the file is damaged.
        """
        if not self.video.is_file():
            raise ValueError(
                f"{self.path} must be a run that was made of a video, got one without {self.video.name}. Make one with: "
                "ds4d generate VIDEO -o RUN"
            )
        return _read_json(VideoCrop, self.video)

    def finish(self, metrics: RunMetrics) -> None:
        """Writes the figures, which says that the run is whole."""
        _write_json(self.metrics, to_dict(metrics))

    def read_metrics(self) -> RunMetrics:
        """The figures of a whole run, as `finish` wrote them.

        Raises:
            ValueError: the folder holds no run, or one that is running, was stopped, is damaged or of another version.
        """
        self.check_fitted()
        if not self.metrics.is_file():
            raise ValueError(
                f"run {self.path} must be whole, got one without {self.metrics.name}. Wait if it is running, or go on "
                "with it by the same command with --resume."
            )
        return _read_json(RunMetrics, self.metrics)

    def write_evaluation(self, record: EvaluationRecord) -> None:
        """Writes scores on views that were not fitted, in place of those that are there."""
        _write_json(self.evaluation, to_dict(record))

    def read_evaluation(self) -> EvaluationRecord | None:
        """The scores on views that were not fitted; None where there are none.

        Raises:
            ValueError: the file is damaged.
        """
        return _read_json(EvaluationRecord, self.evaluation) if self.evaluation.is_file() else None


def read_record(path: Path) -> RunRecord:
    """The record in a config.json.

    Raises:
        ValueError: the file is missing, damaged, or of a version with other settings.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be the config.json of a run, got nothing there. Check the path.")
    content = None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return from_dict(RunRecord, content)
    except ValueError as error:
        if newer := _newer_version(content):
            raise ValueError(
                f"{path} must be readable here, got that of ds4d {newer}, newer than this ds4d {__version__}. "
                f"Update ds4d. ({error})"
            ) from error
        raise ValueError(f"{path} must be the config.json of a run: {error}") from error


def _newer_version(content: Any) -> str | None:
    """The version that wrote a record, if it is newer than this one."""
    written_by = str(content.get("ds4d")) if isinstance(content, dict) else ""
    try:
        return written_by if Version(written_by) > Version(__version__) else None
    except InvalidVersion:
        return None


def _compared(record: RunRecord) -> dict[str, Any]:
    """The part of a record that decides what the fit does: not what is drawn or logged."""
    config = to_dict(record.config)
    del config["outputs"], config["log"]
    return {"input": str(record.input), **config}


def _look_up(nested: Any, key: str) -> Any:
    for name in key.split("."):
        nested = nested.get(name) if isinstance(nested, dict) else None
    return nested


def _read_json(cls: type[T], path: Path) -> T:
    try:
        return from_dict(cls, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} must be a json file of a run by ds4d {__version__}: {error}") from error


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
