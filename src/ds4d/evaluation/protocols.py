"""Evaluation protocols: which metrics are computed of which frames, and the scores that they give."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from ds4d import __version__
from ds4d.core import check_ranges
from ds4d.evaluation.registry import PROTOCOL_METRICS, Metric

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


def metrics_by_protocol(protocol: str | None, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The metrics to compute, by the protocol that they are computed by.

    Args:
        protocol: key in `PROTOCOLS`; None computes metrics of images by `views` and those of shapes by `tracks`.
        names: keys in `PROTOCOL_METRICS`; empty takes those of the protocol, or none without a protocol.

    Raises:
        ValueError: a name is unknown, or not of the protocol.
    """
    config = ProtocolConfig(metrics=tuple(names))
    if protocol is not None:
        return {protocol: tuple(metric.name for metric in metrics_of(PROTOCOLS[protocol], config))}
    found: dict[str, list[str]] = {}
    for key in names:
        found.setdefault("tracks" if PROTOCOL_METRICS[key].level == "shape" else "views", []).append(key)
    return {key: tuple(dict.fromkeys(values)) for key, values in found.items()}


def metrics_of(protocol: Protocol, config: ProtocolConfig) -> list[Metric]:
    """The metrics that a protocol computes."""
    metrics = [PROTOCOL_METRICS[key] for key in config.metrics or protocol.metrics]
    wrong = [metric.name for metric in metrics if (metric.level == "shape") != (protocol.name == "tracks")]
    if wrong:
        raise ValueError(
            f"--metrics must be of the protocol {protocol.name} ({', '.join(protocol.metrics)}), got {wrong[0]}. "
            f"Use another --protocol for it."
        )
    return metrics
