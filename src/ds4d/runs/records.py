"""What a run keeps about itself in JSON: its request, its metrics, its scores on held-out views."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ds4d import __version__
from ds4d.config import GenerateConfig
from ds4d.core import Degraded, Warned, first_difference, from_dict, to_dict
from ds4d.features import ExtractorName
from ds4d.io import atomic_path
from ds4d.io import read_json as read_any_json
from ds4d.losses import Term
from ds4d.multiview import ViewsSource
from ds4d.preprocess import Finding

T = TypeVar("T")

FORMAT = 2  # of config.json; 1 was written by ds4d 0.1, without the key
_SETTINGS_OF_0_1 = {"fit", "clip"}  # groups that have other names in format 2


@dataclass(frozen=True)
class RunRecord:
    """What a run was asked to do.

    Attributes:
        input: absolute path of the input video or folder of views.
        device: type of the device that the run was started on; it may be resumed on another.
        config: all settings, as requested.
        views_source: source of the views; `auto` until it is chosen.
        features_kind: feature extractor; `auto` until it is chosen.
        replaced: the parts that go without their weights, as they were reported when the run was started.
        ds4d: version of ds4d that started the run.
        format: version of the record's format.
    """

    input: Path
    device: str
    config: GenerateConfig
    views_source: ViewsSource = "auto"
    features_kind: ExtractorName = "auto"
    replaced: tuple[Degraded, ...] = ()
    ds4d: str = __version__
    format: int = FORMAT

    @property
    def resolved_config(self) -> GenerateConfig:
        """The settings with what the run uses, which give the same views, features and losses on every machine."""
        views, features = self.config.views, self.config.features
        training, guidance = self.config.training, self.config.guidance
        if self.views_source != "auto":
            views = replace(views, source=self.views_source)
        if self.features_kind != "auto":
            features = replace(features, kind=self.features_kind)
        replaced = {notice.part for notice in self.replaced}
        if "lpips" in replaced:
            training = replace(training, losses=replace(training.losses, lpips=Term()))
        if "guidance" in replaced:
            guidance = replace(guidance, weight=0.0)
        return replace(self.config, views=views, features=features, training=training, guidance=guidance)


@dataclass(frozen=True)
class Provenance:
    """What the parts of a run worked with, in a few words each.

    Attributes:
        views: where the views come from.
        features: name of the feature extractor, or none.
        init: what the first Gaussians were made from.
        lpips: network and weight of the LPIPS loss, or that it is off.
        sds: network and weight of score distillation, or that it is off.
    """

    views: str
    features: str
    init: str
    lpips: str
    sds: str


@dataclass(frozen=True)
class RunMetrics:
    """Metrics of a finished run, and what they were measured with.

    Attributes:
        versions: versions of ds4d, Python, the system and the packages that decide the result, by name.
        provenance: what the parts of the run worked with.
        findings: results of the checks of the input video, the most severe first; None where the input is a folder of
            views.
        degradations: parts that were replaced by something weaker, or left out.
        warnings: what may have lowered the quality.
        device: name of the device.
        frames: number of frames.
        views: number of training views.
        image_size: width and height of the training images, pixels.
        steps: number of optimization steps.
        num_gaussians: number of Gaussians at the end.
        input_psnr: mean PSNR over the frames of the input view, dB.
        training_psnr: mean PSNR over all training views, each view with equal weight, dB.
        input_psnr_by_frame: PSNR of each frame of the input view, dB; None for a frame without an image.
        seconds: wall time by stage, seconds.
        peak_memory_bytes: peak memory use in bytes by kind of memory: main, gpu.
        registration: pose and quality of the registration of the initial mesh, if the run started from one.
    """

    versions: dict[str, str]
    provenance: Provenance
    findings: tuple[Finding, ...] | None
    degradations: tuple[Degraded, ...]
    warnings: tuple[Warned, ...]
    device: str
    frames: int
    views: int
    image_size: tuple[int, ...]
    steps: int
    num_gaussians: int
    input_psnr: float
    training_psnr: float
    input_psnr_by_frame: tuple[float | None, ...]
    seconds: dict[str, float]
    peak_memory_bytes: dict[str, int]
    registration: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for stage, value in self.seconds.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"seconds.{stage} must be finite and at least 0, got {value}.")


@dataclass(frozen=True)
class EvaluationRecord:
    """Scores of a run on held-out views.

    Attributes:
        data: folder of the held-out views.
        split: name of the transforms file's split.
        images: number of images that were scored.
        total: mean over the views by metric; None where a metric is undefined.
        views: the same metrics for each view, by its name.

    Raises:
        ValueError: a view lacks a metric.
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
                    f"views.{view} must hold {', '.join(self.total)}, got {', '.join(scores)}. Run ds4d eval again."
                )


def read_record(path: Path) -> RunRecord:
    """The record in the config.json of a run.

    Raises:
        ValueError: the file is missing, damaged, or written by another version with other settings.
    """
    content = _read_content(path)
    writer = content.get("ds4d") if isinstance(content, dict) else None
    try:
        return from_dict(RunRecord, content)
    except ValueError as error:
        hint = f" It was written by ds4d {writer}, this is {__version__}." if writer not in (None, __version__) else ""
        raise ValueError(f"{path} must be the config.json of a run: {error}{hint}") from error


def check_format(path: Path) -> None:
    """Refuses the config.json of a run that another version of ds4d has written in another format.

    Raises:
        ValueError: it is, and the message names the version that reads the run; or the file is missing or damaged.
    """
    _read_content(path)


def _read_content(path: Path) -> Any:
    """The JSON in a record, whatever its keys are, but of this format."""
    if not path.is_file():
        raise ValueError(f"{path} must be the config.json of a run, got no file. Check the path.")
    try:
        content = read_any_json(path)
    except ValueError as error:
        raise ValueError(f"{path} must be the config.json of a run, got damaged JSON: {error}") from error
    if not isinstance(content, dict):
        return content
    writer, found = content.get("ds4d"), content.get("format", 1)
    settings = content.get("config")
    if writer is None and isinstance(settings, dict) and not _SETTINGS_OF_0_1.isdisjoint(settings):
        writer = "0.1"
    if isinstance(writer, str) and found != FORMAT:
        raise ValueError(
            f"{path} must be of record format {FORMAT}, as ds4d {__version__} writes it, got format {found} of ds4d "
            f"{writer}. Use ds4d {writer} for this run, or generate it again with this version."
        )
    return content


def compared_settings(record: RunRecord) -> dict[str, Any]:
    """The part of a record that decides the result of the fit: not what is rendered, logged or kept."""
    config = to_dict(record.config)
    for name in ("outputs", "log", "checkpoint_every", "checkpoint_seconds", "allow_missing_weights"):
        del config[name]
    return {"input": str(record.input), **config}


def check_same_settings(begun: RunRecord, requested: RunRecord, folder: Path) -> None:
    """Refuses to resume a run with other settings.

    Args:
        begun: record of the run in the folder.
        requested: record of what is requested now.
        folder: folder of the run, for the message.

    Raises:
        ValueError: a setting that decides the result of the fit differs; the message names it.
    """
    old, new = compared_settings(begun), compared_settings(requested)
    if (key := first_difference(old, new)) is not None:
        raise ValueError(
            f"{key} must be that of the run in {folder}, {_look_up(old, key)!r}, to resume it, got "
            f"{_look_up(new, key)!r}. Use the same settings, or another output folder."
        )


def read_json(cls: type[T], path: Path) -> T:
    """A dataclass from a JSON file that `write_json` wrote.

    Raises:
        ValueError: the file is damaged, or of a version with other keys.
    """
    try:
        return from_dict(cls, read_any_json(path))
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON file of a run by ds4d {__version__}: {error}") from error


def write_json(path: Path, record: Any) -> None:
    """Writes a dataclass as JSON, so that it survives a power cut."""
    with atomic_path(path, durable=True) as temporary:
        temporary.write_text(json.dumps(to_dict(record), indent=1), encoding="utf-8")


def _look_up(nested: Any, key: str) -> Any:
    for name in key.split("."):
        nested = nested.get(name) if isinstance(nested, dict) else None
    return nested
