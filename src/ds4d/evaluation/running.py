"""Runs evaluation protocols, over all objects of a set or for one fitted scene.

An object that cannot be read or scored is a failure: it is listed with its error and counted beside every mean, and no
mean contains a value in its place.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.evaluation.candidates import Candidate
from ds4d.evaluation.networks import LoadedNetworks, NotComputedError
from ds4d.evaluation.protocols import PROTOCOLS, ObjectScores, Protocol, ProtocolConfig, ProtocolScores, metrics_of
from ds4d.evaluation.registry import PROTOCOL_METRICS, Features, Metric
from ds4d.evaluation.subjects import ClipPair, ShapePair, ViewGrid
from ds4d.evaluation.truths import Truth, read_points, read_truths
from ds4d.metrics import average_views
from ds4d.metrics.alignment import AlignmentConfig
from ds4d.scene import BakedGaussians

T = TypeVar("T")

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
    layout, truths = read_truths(data, config.split)
    run = _Run(PROTOCOLS[name], config, device)
    whole = len(truths) == 1 and not (result / next(iter(truths))).exists()
    objects = []
    for truth in tracked(list(truths.values()), "scoring the objects"):
        try:
            objects.append(run.object(truth, Candidate(result if whole else result / truth.name, device), show))
        except (ValueError, OSError) as error:
            objects.append(ObjectScores(truth.name, error=" ".join(str(error).split())))
    metrics = run.metrics
    values = {metric.name: [o.values.get(metric.name, math.nan) for o in objects] for metric in metrics}
    counts = {key: sum(not math.isnan(value) for value in found) for key, found in values.items()}
    total = {key: _mean(found) for key, found in values.items()}
    for key, value in run.set_values().items():
        total[key], counts[key] = value, 0 if math.isnan(value) else sum(not scores.error for scores in objects)
    missing = {metric.name: run.reason(metric, objects) for metric in metrics if not counts[metric.name]}
    return ProtocolScores(name, layout, config, tuple(objects), total, counts, missing, dict(run.networks.digests))


def score_scene(
    name: str, scene: BakedGaussians, data: Path, config: ProtocolConfig, device: torch.device
) -> ObjectScores:
    """Scores a fitted scene by a protocol, as `run_protocol` scores the run that it is saved in.

    Values of a set of objects (`Metric.level`) are not computed.

    Args:
        name: key in `PROTOCOLS`.
        scene: scene fitted in the world of the truth, on the device.
        data: folder of the truth of this one object.
        config: how the protocol is run.
        device: device of renderers and networks.

    Raises:
        ValueError: the truth cannot be read, or the scene cannot be scored on it.
    """
    _, truths = read_truths(data, config.split)
    if len(truths) != 1:
        raise ValueError(f"{data} must hold one object, got {len(truths)}. Give the folder of one.")
    run = _Run(PROTOCOLS[name], config, device, is_set=False)
    (truth,) = truths.values()
    return run.alone(run.object(truth, Candidate(data, device, scene), None))


def score_clips(
    name: str,
    clips: Mapping[str, tuple[UInt8[np.ndarray, "T H W 4"], UInt8[np.ndarray, "T H W 4"]]],
    config: ProtocolConfig,
    device: torch.device,
) -> ObjectScores:
    """Scores the rendered frames of one object by the image metrics of a protocol.

    Args:
        name: key in `PROTOCOLS`, of a protocol of images.
        clips: true and rendered frames of each view, straight alpha.
        config: how the protocol is run.
        device: device of the networks.

    Raises:
        ValueError: true and rendered frames differ in number or size.
    """
    run = _Run(PROTOCOLS[name], config, device, is_set=False)
    pairs: dict[str, ClipPair] = {}
    for view, (true, rendered) in clips.items():
        pairs |= run.cut("the object", view, true, rendered)
    return run.alone(run.clips("the object", pairs))


class _Run:
    """One run of a protocol: networks, what was left out, and the clips of the set."""

    def __init__(
        self, protocol: Protocol, config: ProtocolConfig, device: torch.device, *, is_set: bool = True
    ) -> None:
        self.protocol, self.config = protocol, config
        self.networks = LoadedNetworks(device)
        self.metrics = metrics = metrics_of(protocol, config)
        self._features: dict[str, list[Features]] = {}  # of all clips, by metrics of the set
        self._left_out: dict[str, str] = {}  # of all objects
        for metric in metrics:  # damaged weights are an error of the command, not of every object
            try:
                if metric.unavailable:
                    raise NotComputedError(metric.unavailable)
                if metric.level == "set" and not is_set:
                    raise NotComputedError("it is of a set; give the images of all objects to ds4d eval --protocol")
                if metric.network:
                    self.networks.get(metric.network)
            except NotComputedError as reason:
                self._left_out[metric.name] = str(reason)

    def object(self, truth: Truth, candidate: Candidate, show: ShowClip | None) -> ObjectScores:
        """Scores of one object."""
        if self.protocol.name == "tracks":
            return self.shapes(truth, candidate)
        return self.images(truth, candidate, show)

    def alone(self, scores: ObjectScores) -> ObjectScores:
        """The scores of an object that is scored on its own, with a value or a reason for each metric."""
        values = {metric.name: scores.values.get(metric.name, math.nan) for metric in self.metrics}
        missing = [name for name, value in values.items() if math.isnan(value)]
        reasons = {**scores.not_computed, **self._left_out}
        return replace(scores, values=values, not_computed={n: reasons.get(n, "nothing to measure") for n in missing})

    def images(self, truth: Truth, candidate: Candidate, show: ShowClip | None) -> ObjectScores:
        """Scores of the clips and of the grid of one object."""
        if not truth.views:
            raise ValueError(f"{truth.name} must have images for the protocol {self.protocol.name}, got points alone.")
        clips: dict[str, ClipPair] = {}
        frames = 0
        for view, read in truth.views.items():
            true = read() if self.protocol.clip_frames else self._first_frames(read(), f"{truth.name} {view}")
            frames = len(true)
            clips |= self.cut(truth.name, view, true, candidate.frames(truth, view, frames))
        if show is not None:
            for clip in clips.values():
                show(truth.name, clip)
        return self.clips(truth.name, clips)

    def clips(self, name: str, clips: Mapping[str, ClipPair]) -> ObjectScores:
        """Scores of the clips of one object, of which there is at least one, and of their grid."""
        frames = max(len(clip.truth) for clip in clips.values())
        reasons: dict[str, str] = {}
        views = {name: self._values("clip", clip, len(clip.truth), reasons) for name, clip in clips.items()}
        values = average_views(list(views.values()))
        values |= self._values("grid", ViewGrid(name, clips), frames, reasons)
        self._keep_features(list(clips.values()), reasons)
        return ObjectScores(name, frames=frames, values=values, views=views, not_computed=reasons)

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
        for metric in self.metrics:
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

    def cut(self, name: str, view: str, true: np.ndarray, rendered: np.ndarray) -> dict[str, ClipPair]:
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
        for metric in self.metrics:
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
