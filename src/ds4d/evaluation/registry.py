"""The metrics of the evaluation protocols, as data.

To add one: write a function of a subject (`ds4d.evaluation.subjects`) and of a network, add an entry here, and name it
in a protocol (`ds4d.evaluation.protocols`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.evaluation.networks import NotComputedError
from ds4d.evaluation.subjects import ClipPair, ShapePair, ViewGrid
from ds4d.metrics import frame_scores, shape_scores, ssim
from ds4d.metrics.frechet import clip_distance, frechet_distance
from ds4d.metrics.i3d import MIN_FRAMES, bicubic_clip, bilinear_clip
from ds4d.metrics.inception import inception_images

_BATCH = 8  # images that a network takes at once

Features = tuple[Float[np.ndarray, "_ C"], Float[np.ndarray, "_ C"]]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: key in `PROTOCOL_METRICS`.
        title: what it is, in a few words.
        level: what one value belongs to: a clip (averaged over views, then objects), the grid of an object's clips, the
            set of all clips, or the shape of an object.
        compute: value of a subject of that level, given the network (None if it has none); of a set, given the features
            of its clips.
        unit: unit, empty if it has none.
        range: least and greatest value.
        better: whether a higher or a lower value is better, or the one nearest to 1.
        oracle: independent implementation that the stored values in the tests come from.
        network: key in `ds4d.evaluation.networks.NETWORKS`, or None.
        needs_alpha: whether rendered images need a silhouette.
        needs_tracks: whether points need an identity through the clip.
        least_frames: smallest number of frames.
        unavailable: why ds4d does not compute it, and what does; empty if it does.
        features: of a set: features of one clip, rendered and true, one row each or more; kept in place of the clip.
    """

    name: str
    title: str
    level: Literal["clip", "grid", "set", "shape"]
    compute: Callable[[Any, Any], float]
    unit: str = ""
    range: tuple[float, float] = (0.0, math.inf)
    better: Literal["higher", "lower", "one"] = "lower"
    oracle: str = "values by hand"
    network: str | None = None
    needs_alpha: bool = False
    needs_tracks: bool = False
    least_frames: int = 1
    unavailable: str = ""
    features: "Callable[[ClipPair, Any], Features] | None" = None


def _score(name: str) -> Callable[[ClipPair, Any], float]:
    def compute(pair: ClipPair, network: Any) -> float:
        if not pair.same_size:
            raise NotComputedError("images have another size than the truth; render at its size")
        return pair.scores[name]

    return compute


def _per_frame(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[ClipPair, Any], float]:
    def compute(pair: ClipPair, network: Any) -> float:
        return float(np.mean([function(*frames) for frames in zip(*pair.colors, strict=True)]))

    return compute


def _own(name: str, function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[ClipPair, Any], float]:
    """The value of `score_view` for images in their own size; that of `function` for resized ones."""

    def compute(pair: ClipPair, network: Any) -> float:
        return pair.scores[name] if pair.side is None else _per_frame(function)(pair, network)

    return compute


def _unit_psnr(image: UInt8[np.ndarray, "H W 3"], target: UInt8[np.ndarray, "H W 3"]) -> float:
    error = np.square(image.astype(np.float64) - target).mean() / 255**2
    return float(-10 * np.log10(max(error, 1e-6)))


def _unit_ssim(image: UInt8[np.ndarray, "H W 3"], target: UInt8[np.ndarray, "H W 3"]) -> float:
    return float(ssim(*(torch.from_numpy(each.astype(np.float32) / 255).movedim(-1, 0) for each in (image, target))))


def _lpips(pair: ClipPair, network: Any) -> float:
    def tensors(frames: np.ndarray) -> Tensor:
        return torch.from_numpy(frames.astype(np.float32) / 255).movedim(-1, 1).to(network.mean)

    with torch.no_grad():
        values = [network(*map(tensors, frames)).cpu() for frames in _batches(*pair.colors)]
    return float(torch.cat(values).double().mean())


def _clip(pair: ClipPair, network: Any) -> float:
    return float(torch.cat([network(*frames) for frames in _batches(*pair.colors)]).double().mean())


def _detail(pair: ClipPair, network: Any) -> float:
    if not pair.same_size:
        raise NotComputedError("images have another size than the truth; render at its size")
    return frame_scores.detail_ratio(*pair.native, pair.masks[1])


def _outliers(pair: ClipPair, network: Any) -> float:
    if not pair.same_size:
        raise NotComputedError("images have another size than the truth; render at its size")
    rendered, true = pair.masks
    return frame_scores.color_outliers(*pair.native, true, rendered)


def _logits(frames: UInt8[np.ndarray, "T H W 3"], network: Any) -> Float[np.ndarray, " 400"]:
    clip = bicubic_clip(frames).to(network.logits["conv3d"].weight)
    with torch.no_grad():
        return network(clip)[0].cpu().numpy()


def _clip_fvd(pair: ClipPair, network: Any) -> float:
    return pair.once("clip_fvd", lambda: clip_distance(*(_logits(frames, network) for frames in pair.native)))


def _arranged(arrange: Callable[[np.ndarray], Iterator[np.ndarray]]) -> Callable[[ViewGrid, Any], float]:
    """Mean of the distances of the clips into which the images of a grid are arranged."""

    def compute(grid: ViewGrid, network: Any) -> float:
        rendered, true = (list(arrange(grid.images(side))) for side in (0, 1))
        if len(true[0]) < MIN_FRAMES:
            raise NotComputedError(f"its clips have {len(true[0])} images, I3D needs {MIN_FRAMES}; render more views")
        distances = [
            clip_distance(_logits(ours, network), _logits(theirs, network))
            for ours, theirs in zip(rendered, true, strict=True)
        ]
        return float(np.mean(distances))

    return compute


def _over_frames(images: UInt8[np.ndarray, "V T H W 3"]) -> Iterator[np.ndarray]:
    return iter(images)


def _over_views(images: UInt8[np.ndarray, "V T H W 3"]) -> Iterator[np.ndarray]:
    return iter(images.swapaxes(0, 1))


def _diagonal(images: UInt8[np.ndarray, "V T H W 3"]) -> Iterator[np.ndarray]:
    """View and frame advance together; the views start over where there are fewer than frames."""
    views, frames = images.shape[:2]
    count = max(views, frames)
    yield images[np.arange(count) % views, np.arange(count) % frames]


def _zigzag(images: UInt8[np.ndarray, "V T H W 3"]) -> Iterator[np.ndarray]:
    """Row by row, every second row backwards."""
    yield np.concatenate([row if index % 2 == 0 else row[::-1] for index, row in enumerate(images)])


def _set_distance(features: Sequence[Features], network: Any) -> float:
    rendered, true = (np.concatenate(side) for side in zip(*features, strict=True))
    return frechet_distance(rendered, true)


def _clip_features(pair: ClipPair, network: Any) -> Features:
    """I3D's features of the whole clip."""
    device = next(iter(network.parameters()), torch.empty(0)).device

    def features(frames: UInt8[np.ndarray, "T H W 3"]) -> np.ndarray:
        with torch.no_grad():
            return network(bilinear_clip(frames).to(device)).cpu().numpy()

    return features(pair.colors[0]), features(pair.colors[1])


def _inception(pair: ClipPair, network: Any) -> Features:
    """Inception's features of each frame."""

    def features(frames: UInt8[np.ndarray, "T H W 3"]) -> np.ndarray:
        device = next(network.parameters()).device
        with torch.no_grad():
            parts = [network(inception_images(part).to(device)).cpu() for (part,) in _batches(frames)]
        return torch.cat(parts).numpy()

    return pair.once("inception", lambda: (features(pair.native[0]), features(pair.native[1])))


def _clip_fid(pair: ClipPair, network: Any) -> float:
    return frechet_distance(*_inception(pair, network))


def _cd_3d(pair: ShapePair, network: Any) -> float:
    moved = pair.moved(pair.frame_poses)
    return shape_scores.mean_chamfer(moved.points, moved.truth)


def _cd_4d(pair: ShapePair, network: Any) -> float:
    moved = pair.moved([pair.first_pose] * len(pair.points))
    return shape_scores.mean_chamfer(moved.points, moved.truth)


def _cd_m(pair: ShapePair, network: Any) -> float:
    return shape_scores.motion_chamfer(pair.first_pose.apply(pair.track), pair.truth)


def _surface(function: Callable[[Any, Any], float], *, aligned: bool) -> Callable[[ShapePair, Any], float]:
    def compute(pair: ShapePair, network: Any) -> float:
        chosen = pair.similarity if aligned else pair
        return function(chosen.points, chosen.truth)

    return compute


def _tracks(function: Callable[[Any, Any], float], *, aligned: bool) -> Callable[[ShapePair, Any], float]:
    def compute(pair: ShapePair, network: Any) -> float:
        chosen = pair.similarity if aligned else pair
        return function(chosen.track, chosen.truth)

    return compute


def _never(subject: Any, network: Any) -> float:
    raise AssertionError("the metric is not available")


def _batches(*frames: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for first in range(0, len(frames[0]), _BATCH):
        yield tuple(each[first : first + _BATCH] for each in frames)


_TORCHMETRICS, _SKIMAGE = "torchmetrics 1.9", "scikit-image 0.26"
_I3D_ORACLE, _INCEPTION_ORACLE = (
    "cd-fvd 0.1.1 (VideoGPT's I3D) and SciPy's sqrtm",
    "torch-fidelity 0.4 and torchmetrics",
)
_SCIPY = "brute-force distances"

_ALL = (
    Metric("psnr", "PSNR, range 1, at most 60 dB an image", "clip", _own("psnr", _unit_psnr), "dB", (0.0, 60.0),
           "higher", _SKIMAGE),
    Metric("psnr_target_range", "PSNR, range of the true image (Consistent4D)", "clip",
           _per_frame(frame_scores.psnr_of_target_range), "dB", better="higher", oracle=_TORCHMETRICS),
    Metric("psnr_object", "PSNR inside the true silhouette grown by 4 px per 256", "clip", _score("psnr_object"), "dB",
           (0.0, 60.0), "higher"),
    Metric("psnr_dynamic", "PSNR where the truth moves", "clip", _score("psnr_dynamic"), "dB", (0.0, 60.0), "higher"),
    Metric("ssim", "SSIM, range 1", "clip", _own("ssim", _unit_ssim), "", (-1.0, 1.0), "higher", _SKIMAGE),
    Metric("ssim_joint_range", "SSIM, larger range of both images (Consistent4D)", "clip",
           _per_frame(frame_scores.ssim_of_joint_range), "", (-1.0, 1.0), "higher", _TORCHMETRICS),
    Metric("lpips", "LPIPS, VGG16", "clip", _lpips, oracle=_TORCHMETRICS, network="lpips"),
    Metric("lpips_random", "stand-in for LPIPS: VGG16 with random weights", "clip", _lpips, oracle=_TORCHMETRICS,
           network="lpips-random"),
    Metric("clip", "CLIP ViT-B/32 image similarity", "clip", _clip, "", (-1.0, 1.0), "higher",
           "transformers' own pipeline", network="clip"),
    Metric("clip_bigg", "OpenCLIP ViT-bigG/14 image similarity (V2M4)", "clip", _clip, "", (-1.0, 1.0), "higher",
           "transformers' own pipeline", network="clip-bigg"),
    Metric("dreamsim", "DreamSim", "clip", _never, unavailable="the package dreamsim needs torchvision and timm, which "
           "ds4d keeps out; run it on the images in an environment of its own"),
    Metric("iou", "intersection over union of the silhouettes", "clip", _score("iou"), "", (0.0, 1.0), "higher",
           needs_alpha=True),
    Metric("motion_error", "difference of frame-to-frame changes", "clip", _score("motion_error"), "1/255",
           (0.0, 255.0), least_frames=2),
    Metric("still_flicker", "frame-to-frame change where the object stands still", "clip", _score("still_flicker"),
           "1/255", (0.0, 255.0), least_frames=2),
    Metric("detail_ratio", "gradient inside the object, rendered over true", "clip", _detail, better="one"),
    Metric("color_outliers", "pixels with a color that the object never has", "clip", _outliers, "%", (0.0, 100.0),
           needs_alpha=True),
    Metric("fvd_consistent4d", "Consistent4D's FVD: distance of I3D logits of one clip", "clip", _clip_fvd,
           oracle=_I3D_ORACLE, network="i3d", least_frames=MIN_FRAMES),
    Metric("fvd_f", "SV4D's FVD-F: over the frames of each view", "grid", _arranged(_over_frames), oracle=_I3D_ORACLE,
           network="i3d"),
    Metric("fvd_v", "SV4D's FVD-V: over the views of each frame", "grid", _arranged(_over_views), oracle=_I3D_ORACLE,
           network="i3d"),
    Metric("fvd_diag", "SV4D's FVD-Diag: over the diagonal of views and frames", "grid", _arranged(_diagonal),
           oracle=_I3D_ORACLE, network="i3d"),
    Metric("fv4d", "SV4D's FV4D: over all images in zigzag order", "grid", _arranged(_zigzag), oracle=_I3D_ORACLE,
           network="i3d"),
    Metric("fvd_styleganv", "FVD of the set of clips, StyleGAN-V's I3D", "set", _set_distance, oracle=_I3D_ORACLE,
           network="i3d-styleganv", least_frames=MIN_FRAMES, features=_clip_features),
    Metric("fid_vid_clip", "FID of the frames of each clip, averaged", "clip", _clip_fid, oracle=_INCEPTION_ORACLE,
           network="inception-fid", least_frames=2),
    Metric("fid_vid_pooled", "FID of all frames together", "set", _set_distance, oracle=_INCEPTION_ORACLE,
           network="inception-fid", features=_inception),
    Metric("fid_vid_disco", "DisCo's FID-VID, 3D ResNet-50", "set", _never, unavailable="ds4d does not have its "
           "network; run DisCo's script on the images"),
    Metric("cd_3d", "ActionBench's CD-3D: each frame aligned", "shape", _cd_3d, oracle=_SCIPY),
    Metric("cd_4d", "ActionBench's CD-4D: aligned by the first frame", "shape", _cd_4d, oracle=_SCIPY),
    Metric("cd_m", "ActionBench's CD-M: neighbors of the first frame kept", "shape", _cd_m, oracle=_SCIPY,
           needs_tracks=True),
    Metric("cd_4d_raw", "CD-4D without alignment", "shape", _surface(shape_scores.mean_chamfer, aligned=False),
           oracle=_SCIPY),
    Metric("cd_m_raw", "CD-M without alignment", "shape", _tracks(shape_scores.motion_chamfer, aligned=False),
           oracle=_SCIPY, needs_tracks=True),
    Metric("f_score_raw", "F-score at 1 % of the longest side", "shape",
           _surface(shape_scores.f_score, aligned=False), "", (0.0, 1.0), "higher", _SCIPY),
    Metric("f_score_aligned", "the same after a similarity", "shape", _surface(shape_scores.f_score, aligned=True), "",
           (0.0, 1.0), "higher", _SCIPY),
    Metric("apd_raw", "share of points whose displacement is right", "shape",
           _tracks(shape_scores.points_within, aligned=False), "", (0.0, 1.0), "higher", _SCIPY, needs_tracks=True,
           least_frames=2),
    Metric("apd_aligned", "the same after a similarity", "shape", _tracks(shape_scores.points_within, aligned=True), "",
           (0.0, 1.0), "higher", _SCIPY, needs_tracks=True, least_frames=2),
    Metric("track_error_raw", "mean error of displacements, of the diagonal", "shape",
           _tracks(shape_scores.track_error, aligned=False), oracle=_SCIPY, needs_tracks=True, least_frames=2),
    Metric("track_error_aligned", "the same after a similarity", "shape",
           _tracks(shape_scores.track_error, aligned=True), oracle=_SCIPY, needs_tracks=True, least_frames=2),
)  # fmt: skip

# In no protocol, as nobody else can stand beside them; computed where they are asked for by name.
STAND_INS = ("lpips_random",)

PROTOCOL_METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
