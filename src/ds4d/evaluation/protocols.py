"""Evaluation protocols: which metrics are computed of which frames, over all objects of a set.

An object that cannot be read or scored is a failure: it is listed with its error and counted beside every mean, and no
mean contains a value in its place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image

from ds4d import __version__
from ds4d.core import check_ranges, tracked
from ds4d.evaluation.candidates import Candidate
from ds4d.evaluation.networks import LoadedNetworks, NotComputedError
from ds4d.evaluation.registry import PROTOCOL_METRICS, Features, Metric
from ds4d.evaluation.subjects import ClipPair, ShapePair, ViewGrid
from ds4d.evaluation.truths import Truth, read_points, read_truths
from ds4d.metrics import average_views
from ds4d.metrics.alignment import AlignmentConfig

T = TypeVar("T")

ProtocolName = Literal["views", "consistent4d", "v2m4", "tracks"]


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        name: key in `PROTOCOLS`.
        title: what it is, in a few words.
        metrics: keys in `PROTOCOL_METRICS`, in the order of the tables.
        side: width and height of the images for metrics of single images, pixels; None for their own size.
        resampling: filter of that resizing.
        clip_frames: length of the clips into which views are cut, the rest being dropped; None for whole views.
    """

    name: str
    title: str
    metrics: tuple[str, ...]
    side: int | None = None
    resampling: Image.Resampling = Image.Resampling.BICUBIC
    clip_frames: int | None = None


_IMAGES = ("psnr", "psnr_object", "psnr_dynamic", "ssim", "lpips", "clip", "dreamsim", "iou", "motion_error",
           "still_flicker", "detail_ratio", "color_outliers")  # fmt: skip
_VIDEOS = ("fvd_consistent4d", "fvd_f", "fvd_v", "fvd_diag", "fv4d", "fvd_styleganv", "fid_vid_clip", "fid_vid_pooled",
           "fid_vid_disco")  # fmt: skip

_ALL = (
    Protocol("views", "held-out views in their own size", (*_IMAGES, *_VIDEOS)),
    Protocol(
        "consistent4d",
        "Consistent4D's scripts: 512 px, bicubic",
        ("clip", "lpips", "psnr_target_range", "ssim_joint_range", *_VIDEOS),
        side=512,
    ),
    Protocol(
        "v2m4",
        "V2M4's script: 512 px, bilinear, clips of 32 frames",
        ("fvd_styleganv", "lpips", "dreamsim", "clip_bigg"),
        side=512,
        resampling=Image.Resampling.BILINEAR,
        clip_frames=32,
    ),
    Protocol(
        "tracks",
        "surfaces and tracked points",
        tuple(name for name, metric in PROTOCOL_METRICS.items() if metric.level == "shape"),
    ),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


@dataclass(frozen=True)
class ProtocolConfig:
    """How a protocol is run.

    Attributes:
        frames: number of frames that are compared, from the first; all of the truth's if None. Of a protocol that cuts
            views into clips, the length of these clips.
        metrics: the only metrics that are computed; those of the protocol if empty.
        split: name of the transforms file, without transforms_ and .json.
        alignment_points: number of points that the tracks protocol aligns; ActionBench takes 10,000.
        alignment_steps: number of steps of that alignment; ActionBench takes 200.
    """

    frames: int | None = None
    metrics: tuple[str, ...] = ()
    split: str = "test"
    alignment_points: int = 1000
    alignment_steps: int = 200

    def __post_init__(self) -> None:
        check_ranges(self, alignment_points="[4, inf)", alignment_steps="[1, inf)")
        if self.frames is not None:
            check_ranges(self, frames="[1, inf)")
        unknown = [name for name in self.metrics if name not in PROTOCOL_METRICS]
        if unknown:
            raise ValueError(f"metrics must be of {', '.join(PROTOCOL_METRICS)}, got {unknown[0]!r}. Correct the name.")


@dataclass(frozen=True)
class ObjectScores:
    """Scores of one object.

    Attributes:
        name: name of the object.
        error: why it could not be scored; empty if it was.
        frames: number of frames that were compared.
        values: metrics by name; NaN where there is nothing to measure.
        views: the metrics of each clip, by its name.
        not_computed: why metrics were left out of this object, and what to do, by their name.
    """

    name: str
    error: str = ""
    frames: int = 0
    values: dict[str, float] = field(default_factory=dict)
    views: dict[str, dict[str, float]] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProtocolScores:
    """The result of a protocol.

    Attributes:
        protocol: name of the protocol.
        layout: name of the truth's layout.
        config: how it was run.
        objects: scores of each object, sorted by name, failures included.
        total: mean over the objects that have a value, or the value of the set; NaN if none has.
        counts: number of objects that have a value, by metric.
        not_computed: why metrics were left out of all objects, and what to do, by their name.
        weights: SHA-256 of the weights in use.
        ds4d: version of ds4d.
    """

    protocol: str
    layout: str
    config: ProtocolConfig
    objects: tuple[ObjectScores, ...]
    total: dict[str, float]
    counts: dict[str, int]
    not_computed: dict[str, str]
    weights: dict[str, str]
    ds4d: str = __version__

    @property
    def failed(self) -> list[ObjectScores]:
        """The objects that could not be scored."""
        return [scores for scores in self.objects if scores.error]


ShowClip = Callable[[str, ClipPair], None]


def run_protocol(
    name: str,
    result: Path,
    data: Path,
    config: ProtocolConfig,
    device: torch.device,
    *,
    show: ShowClip | None = None,
) -> ProtocolScores:
    """Scores the results for all objects of a set.

    Args:
        name: key in `PROTOCOLS`.
        result: result for the one object of the set, or a folder with one result per object, named as in the set.
        data: folder of the truth.
        config: how the protocol is run.
        device: device of renderers and networks.
        show: called with the name of the object and every clip that was scored.

    Raises:
        ValueError: the truth cannot be read.
    """
    protocol = PROTOCOLS[name]
    layout, truths = read_truths(data, config.split)
    metrics = [PROTOCOL_METRICS[key] for key in config.metrics or protocol.metrics]
    wrong = [metric.name for metric in metrics if (metric.level == "shape") != (name == "tracks")]
    if wrong:
        raise ValueError(
            f"--metrics must be of the protocol {name} ({', '.join(protocol.metrics)}), got {wrong[0]}. "
            f"Use another --protocol for it."
        )
    run = _Run(protocol, config, device, metrics)
    whole = len(truths) == 1 and not (result / next(iter(truths))).exists()
    objects = []
    for truth in tracked(list(truths.values()), "scoring the objects"):
        try:
            candidate = Candidate(result if whole else result / truth.name, device)
            objects.append(run.shapes(truth, candidate) if name == "tracks" else run.images(truth, candidate, show))
        except (ValueError, OSError) as error:
            objects.append(ObjectScores(truth.name, error=" ".join(str(error).split())))
    values = {metric.name: [o.values.get(metric.name, math.nan) for o in objects] for metric in metrics}
    counts = {key: sum(not math.isnan(value) for value in found) for key, found in values.items()}
    total = {key: _mean(found) for key, found in values.items()}
    for key, value in run.set_values().items():
        total[key], counts[key] = value, 0 if math.isnan(value) else sum(not scores.error for scores in objects)
    missing = {metric.name: run.reason(metric, objects) for metric in metrics if not counts[metric.name]}
    return ProtocolScores(name, layout, config, tuple(objects), total, counts, missing, dict(run.networks.digests))


class _Run:
    """One run of a protocol: networks, what was left out, and the clips of the set."""

    def __init__(
        self, protocol: Protocol, config: ProtocolConfig, device: torch.device, metrics: Sequence[Metric]
    ) -> None:
        self.protocol, self.config = protocol, config
        self.networks = LoadedNetworks(device)
        self._metrics = list(metrics)
        self._features: dict[str, list[Features]] = {}  # of all clips, by metrics of the set
        self._left_out: dict[str, str] = {}  # of all objects
        for metric in metrics:  # damaged weights are an error of the command, not of every object
            try:
                if metric.unavailable:
                    raise NotComputedError(metric.unavailable)
                if metric.network:
                    self.networks.get(metric.network)
            except NotComputedError as reason:
                self._left_out[metric.name] = str(reason)

    def images(self, truth: Truth, candidate: Candidate, show: ShowClip | None) -> ObjectScores:
        """Scores of the clips and of the grid of one object."""
        if not truth.views:
            raise ValueError(f"{truth.name} must have images for the protocol {self.protocol.name}, got points alone.")
        clips: dict[str, ClipPair] = {}
        frames = 0
        for view, read in truth.views.items():
            true = read() if self.protocol.clip_frames else self._first_frames(read(), f"{truth.name} {view}")
            frames = len(true)
            clips |= self._cut(truth.name, view, true, candidate.frames(truth, view, frames))
        reasons: dict[str, str] = {}
        views = {name: self._values("clip", clip, len(clip.truth), reasons) for name, clip in clips.items()}
        if show is not None:
            for clip in clips.values():
                show(truth.name, clip)
        values = average_views(list(views.values()))
        values |= self._values("grid", ViewGrid(truth.name, clips), frames, reasons)
        self._keep_features(list(clips.values()), reasons)
        return ObjectScores(truth.name, frames=frames, values=values, views=views, not_computed=reasons)

    def shapes(self, truth: Truth, candidate: Candidate) -> ObjectScores:
        """Scores of the moving shape of one object."""
        if truth.points is None:
            raise ValueError(f"{truth.name} must have points.npy or surfaces.npy for the protocol tracks, got neither.")
        whole = read_points(truth.points)
        true = self._first_frames(whole, truth.name)
        found = candidate.points(len(true), len(whole))
        alignment = AlignmentConfig(self.config.alignment_points, self.config.alignment_steps)
        pair = ShapePair(truth.name, found.frames, found.tracked, true, alignment)
        reasons: dict[str, str] = {}
        values = self._values("shape", pair, len(true), reasons)
        return ObjectScores(truth.name, frames=len(true), values=values, not_computed=reasons)

    def set_values(self) -> dict[str, float]:
        """Values of the set of all clips that were scored."""
        return {name: PROTOCOL_METRICS[name].compute(found, None) for name, found in self._features.items()}

    def reason(self, metric: Metric, objects: Sequence[ObjectScores]) -> str:
        """Why no object has a value of a metric."""
        if metric.name in self._left_out:
            return self._left_out[metric.name]
        own = [scores.not_computed[metric.name] for scores in objects if metric.name in scores.not_computed]
        if own:
            return own[0]
        return "nothing to measure" if any(not scores.error for scores in objects) else "no object could be scored"

    def _keep_features(self, clips: Sequence[ClipPair], reasons: dict[str, str]) -> None:
        """Features of one object's clips for the metrics of the set, so that the clips need not be kept."""
        for metric in self._metrics:
            if metric.features is None or metric.name in self._left_out:
                continue
            try:
                found = [self._value(metric, metric.features, clip, len(clip.truth)) for clip in clips]
                self._features.setdefault(metric.name, []).extend(found)
            except NotComputedError as reason:
                reasons.setdefault(metric.name, str(reason))

    def _first_frames(self, frames: np.ndarray, where: str) -> np.ndarray:
        """The frames that are compared."""
        if self.config.frames is not None and len(frames) < self.config.frames:
            raise ValueError(
                f"{where} must have the {self.config.frames} frames of --frames, got {len(frames)}. Compare fewer."
            )
        return frames[: self.config.frames]

    def _cut(self, name: str, view: str, true: np.ndarray, rendered: np.ndarray) -> dict[str, ClipPair]:
        """The clips of one view."""
        length = len(true)
        if self.protocol.clip_frames is not None:
            length = self.config.frames or self.protocol.clip_frames
        if not 0 < length <= len(true):
            raise ValueError(
                f"{name} {view} must have at least {max(1, length)} frames for the protocol {self.protocol.name}, got "
                f"{len(true)}. Compare shorter clips with --frames."
            )
        size = (self.protocol.side, self.protocol.resampling)
        if len(rendered) != len(true):
            return {view: ClipPair(f"{name} {view}", true, rendered, *size)}  # which says what is wrong
        clips = {}
        for number, start in enumerate(range(0, len(true) - length + 1, length)):
            key = view if len(true) < 2 * length else f"{view}-{number}"
            part = slice(start, start + length)
            clips[key] = ClipPair(f"{name} {key}", true[part], rendered[part], *size)
        return clips

    def _values(self, level: str, subject: Any, frames: int, reasons: dict[str, str]) -> dict[str, float]:
        """The metrics of a level, NaN for those that cannot be computed; why is written into `reasons`."""
        values = {}
        for metric in self._metrics:
            if metric.level != level:
                continue
            values[metric.name] = math.nan
            if metric.name in self._left_out:
                continue
            try:
                values[metric.name] = self._value(metric, metric.compute, subject, frames)
            except NotComputedError as reason:
                reasons.setdefault(metric.name, str(reason))
        return values

    def _value(self, metric: Metric, function: Callable[[Any, Any], T], subject: Any, frames: int) -> T:
        if frames < metric.least_frames:
            raise NotComputedError(f"it needs {metric.least_frames} frames, got {frames}; give longer clips")
        if metric.needs_alpha and not subject.has_alpha:
            raise NotComputedError("images have no alpha; render RGBA with a transparent background")
        if metric.needs_tracks and not subject.tracked:
            raise NotComputedError("points have no identity through the clip; export all frames with one topology")
        return function(subject, self.networks.get(metric.network) if metric.network else None)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
