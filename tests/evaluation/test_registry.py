"""The metrics of the protocols: known values, the best value for equal inputs, and their order."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ds4d.evaluation.networks import NotComputedError
from ds4d.evaluation.registry import PROTOCOL_METRICS, Metric
from ds4d.evaluation.subjects import ClipPair, ShapePair, ViewGrid
from ds4d.metrics import Lpips
from ds4d.metrics.alignment import AlignmentConfig, align_points
from ds4d.metrics.frechet import frechet_distance

BY_LEVEL = {
    level: [name for name, metric in PROTOCOL_METRICS.items() if metric.level == level and not metric.unavailable]
    for level in ("clip", "grid", "set", "shape")
}
BEST = {"psnr": 60.0, "psnr_object": 60.0, "psnr_dynamic": 60.0, "psnr_target_range": math.inf, "still_flicker": None}


def clip_of(rng: np.random.Generator, frames: int = 12, side: int = 36) -> np.ndarray:
    """A disc with a smooth texture; its middle stands still, a patch at its side changes."""
    rows, columns = np.mgrid[:side, :side] / side
    inside = np.hypot(rows - 0.5, columns - 0.5) < 0.4
    clip = np.zeros((frames, side, side, 4), np.uint8)
    clip[..., :3] = (
        (120 + 60 * np.sin(9 * rows + rng.uniform(0, 3, 3)[:, None, None])).astype(np.uint8).transpose(1, 2, 0)
    )
    for index in range(frames):
        clip[index, 12:20, 8:14, :3] = 255 * (index % 3 == np.arange(3))
    clip[..., 3] = 255 * inside
    return clip


def noisy(clip: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """The clip with noise on its colors."""
    out = clip.copy()
    out[..., :3] = (clip[..., :3] + rng.integers(-size, size + 1, clip[..., :3].shape)).clip(0, 255).astype(np.uint8)
    return out


class Statistics(nn.Module):
    """In place of I3D, Inception and CLIP: coarse averages, which depend on the order of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(1, 1, 1)})

    def forward(self, *inputs: Any) -> Tensor:
        if isinstance(inputs[0], np.ndarray):
            ours, theirs = (torch.from_numpy(each.astype(np.float32)).flatten(1) for each in inputs)
            return torch.cosine_similarity(ours, theirs)
        (images,) = inputs
        if images.ndim == 5:
            ramp = torch.arange(1.0, images.shape[2] + 1)[:, None, None]
            images = (images * ramp).sum(2) / ramp.sum()
        features = nn.functional.adaptive_avg_pool2d(images.float(), 4).flatten(1)
        return nn.functional.pad(features, (0, 400 - features.shape[1]))


@pytest.fixture(scope="module")
def networks(lpips: Lpips) -> dict[str | None, Any]:
    """A network for each metric that needs one; LPIPS's own with random weights."""
    stand_in = Statistics().requires_grad_(False)
    others = {metric.network for metric in PROTOCOL_METRICS.values()} - {None, "lpips", "lpips-random"}
    return {None: None, "lpips": lpips, "lpips-random": Lpips.stand_in(), **dict.fromkeys(others, stand_in)}


def value_of(metric: Metric, pair: ClipPair, networks: dict[str | None, Any]) -> float:
    network = networks[metric.network]
    if metric.features is not None:
        return metric.compute([metric.features(pair, network)] * 2, None)
    subject = pair if metric.level == "clip" else ViewGrid("object", dict.fromkeys("abcdefghijkl", pair))
    return metric.compute(subject, network)


@pytest.mark.parametrize("name", BY_LEVEL["clip"] + BY_LEVEL["grid"] + BY_LEVEL["set"])
def test_equal_clips_have_the_best_value(name: str, rng: np.random.Generator, networks: dict[str | None, Any]) -> None:
    metric, clip = PROTOCOL_METRICS[name], clip_of(rng)
    value = value_of(metric, ClipPair("object", clip, clip.copy()), networks)
    expected = BEST.get(name, {"higher": 1.0, "lower": 0.0, "one": 1.0}[metric.better])
    if expected is None:  # what it measures of the truth itself
        assert value == 0.0
    else:
        assert value == pytest.approx(expected, abs=1e-4)
    assert metric.range[0] <= value + 1e-4 and value - 1e-4 <= metric.range[1]


@pytest.mark.parametrize("name", sorted(set(BY_LEVEL["clip"] + BY_LEVEL["grid"] + BY_LEVEL["set"]) - {"iou"}))
def test_more_noise_is_worse(name: str, rng: np.random.Generator, networks: dict[str | None, Any]) -> None:
    metric, clip = PROTOCOL_METRICS[name], clip_of(rng)
    little, much = (value_of(metric, ClipPair("object", clip, noisy(clip, rng, s)), networks) for s in (6, 90))
    if metric.better == "one":
        little, much = abs(little - 1), abs(much - 1)
    assert (little > much) == (metric.better == "higher") and little != much


def test_the_documentation_lists_every_metric() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", page.split("## Metrics")[1].split("Where the definition")[0]))
    assert set(PROTOCOL_METRICS) <= listed


def test_iou_by_hand() -> None:
    truth = np.zeros((1, 12, 12, 4), np.uint8)
    rendered = truth.copy()
    truth[:, :, :8, 3], rendered[:, :, 4:, 3] = 255, 255
    assert PROTOCOL_METRICS["iou"].compute(ClipPair("object", truth, rendered), None) == pytest.approx(1 / 3)


def test_psnr_in_the_range_of_the_target_by_hand() -> None:
    target = np.full((1, 12, 12, 4), 255, np.uint8)
    target[..., :3] = 100
    target[:, :6, :, :3] = 0
    rendered = target.copy()
    rendered[..., :3] += 10
    pair = ClipPair("object", target, rendered)
    assert PROTOCOL_METRICS["psnr_target_range"].compute(pair, None) == pytest.approx(20.0)  # 100 over 10


def test_detail_ratio_is_the_ratio_of_contrasts() -> None:
    stripes = np.where(np.arange(24) // 4 % 2, 160, 80).astype(np.uint8)
    truth = np.zeros((2, 24, 24, 4), np.uint8)
    truth[..., :3], truth[..., 3] = stripes[:, None], 255
    truth[:, 0, :, 3] = 0
    rendered = truth.copy()
    rendered[..., :3] = 120 + (stripes[:, None].astype(int) - 120) // 2
    metric = PROTOCOL_METRICS["detail_ratio"]
    assert metric.compute(ClipPair("object", truth, rendered), None) == pytest.approx(0.5, abs=0.02)


def test_color_outliers_are_colors_that_no_frame_has() -> None:
    truth = np.full((2, 12, 12, 4), 255, np.uint8)
    truth[0, ..., :3], truth[1, ..., :3] = (200, 40, 40), (40, 40, 200)
    truth[:, 0, :, 3] = 0
    rendered = truth[::-1].copy()  # each color at the other time: both belong to the object
    metric = PROTOCOL_METRICS["color_outliers"]
    assert metric.compute(ClipPair("object", truth, rendered), None) == 0.0
    rendered[0, 1:, :6, :3] = (0, 255, 0)
    assert metric.compute(ClipPair("object", truth, rendered), None) == pytest.approx(25.0)


class Recorder(Statistics):
    """Notes the mean level of every frame that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def forward(self, *inputs: Any) -> Tensor:
        (clip,) = inputs
        self.seen.append(((clip[0].mean(dim=(0, 2, 3)) + 1) * 127.5).round().int().tolist())
        return torch.ones(1, 400)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fvd_f", [[10 * v + t for t in range(10)] for v in range(3)]),
        ("fvd_diag", [[10 * (i % 3) + i for i in range(10)]]),
        ("fv4d", [[*range(10), *range(19, 9, -1), *range(20, 30)]]),
    ],
)
def test_images_of_a_grid_are_arranged_in_order(name: str, expected: list[list[int]]) -> None:
    """Image (view, frame) is of the level 10 view + frame."""
    levels = np.arange(30, dtype=np.uint8).reshape(3, 10, 1, 1, 1)
    frames = np.concatenate((levels.repeat(3, -1), np.full_like(levels, 255)), -1).repeat(12, 2).repeat(12, 3)
    grid = ViewGrid("object", {str(v): ClipPair(str(v), frames[v], frames[v]) for v in range(3)})
    network = Recorder()
    assert PROTOCOL_METRICS[name].compute(grid, network) == 0.0
    assert network.seen[::2] == expected  # rendered and true take turns


def test_views_are_too_few_for_a_distance_over_views() -> None:
    clip = np.zeros((12, 8, 8, 4), np.uint8)
    grid = ViewGrid("object", {str(v): ClipPair(str(v), clip, clip) for v in range(4)})
    with pytest.raises(NotComputedError, match="4 images"):
        PROTOCOL_METRICS["fvd_v"].compute(grid, Recorder())


def test_frechet_distance_by_hand() -> None:
    """Means 3 apart, variances 4 and 1: 9 + (2 - 1)^2."""
    a, b = np.array([[-2.0], [0.0], [2.0]]), np.array([[2.0], [3.0], [4.0]])
    assert frechet_distance(a, b) == pytest.approx(10.0)
    assert frechet_distance(a[:1], b) == pytest.approx(25.0)  # one row: the means alone


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    """Points of two boxes, one of which moves away along x by .1 a frame."""
    points = rng.uniform(-0.5, 0.5, (400, 3)) * (1, 0.6, 0.3)
    track = np.repeat(points[None], 4, axis=0)
    track[:, 200:] += (1.5, 0, 0)
    track[:, 200:, 0] += 0.1 * np.arange(4)[:, None]
    return track


@pytest.mark.parametrize("name", [name for name in BY_LEVEL["shape"] if name.endswith("raw")])
def test_equal_shapes_have_the_best_value(name: str, truth: np.ndarray) -> None:
    metric = PROTOCOL_METRICS[name]
    value = metric.compute(ShapePair("object", list(truth), True, truth), None)
    assert value == pytest.approx(1.0 if metric.better == "higher" else 0.0, abs=1e-9)


def test_track_error_of_a_shape_that_stands_still(truth: np.ndarray) -> None:
    """Half of the points are .1, .2 and .3 from where they ought to be."""
    still = ShapePair("object", [truth[0]] * 4, True, truth)
    diagonal = np.linalg.norm(np.ptp(truth.reshape(-1, 3), axis=0))
    assert PROTOCOL_METRICS["track_error_raw"].compute(still, None) == pytest.approx(0.1 / diagonal)
    assert PROTOCOL_METRICS["cd_m_raw"].compute(still, None) == pytest.approx(0.15)  # .075 in each direction
    assert PROTOCOL_METRICS["apd_raw"].compute(still, None) < 1


UNALIGNED = {
    "cd_3d": "cd_4d_raw",
    "cd_4d": "cd_4d_raw",
    "cd_m": "cd_m_raw",
    "f_score_aligned": "f_score_raw",
    "apd_aligned": "apd_raw",
    "track_error_aligned": "track_error_raw",
}


@pytest.mark.parametrize("name", UNALIGNED)
def test_aligned_metrics_do_not_depend_on_pose_and_size(name: str, truth: np.ndarray) -> None:
    turned = (truth[..., [2, 0, 1]] * 1.2 + 0.3)[:, ::2]
    config = AlignmentConfig(points=60, steps=60)
    pair = ShapePair("object", list(turned), True, truth, config)
    metric, raw = PROTOCOL_METRICS[name], PROTOCOL_METRICS[UNALIGNED[name]]
    value, unaligned = (each.compute(pair, None) for each in (metric, raw))
    assert value > unaligned + 0.05 if metric.better == "higher" else value < 0.6 * unaligned


def test_alignment_finds_a_similarity(truth: np.ndarray) -> None:
    angle = 0.4
    rotation = np.array([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    moved = (truth[0, :200] @ rotation) / 1.25 - 0.1
    pose = align_points(moved, truth[0, :200], AlignmentConfig(points=200, steps=150, uniform_scale=True))
    np.testing.assert_allclose(pose.apply(moved), truth[0, :200], atol=0.02)
    assert np.ptp(pose.scale) == 0
