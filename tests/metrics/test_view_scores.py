"""Scores of rendered views: against an independent script, by hand, and how much memory they take."""

import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.metrics import METRICS, Lpips, average_views, psnr, score_view, view_scores

SCRIPT = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_views.py"


def moving_disc(frames: int, size: int, seed: int) -> np.ndarray:
    """A textured disc with a soft edge and a brighter square that moves across it: straight RGBA [T, H, W, 4]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    alphas = np.clip(0.35 * size - np.hypot(x, y) + 0.5, 0, 1)
    texture = rng.uniform(0.2, 0.6, (size, size, 3))
    clip = np.empty((frames, size, size, 4))
    for i in range(frames):
        clip[i, ..., :3] = texture
        left = size // 3 + 2 * i
        clip[i, size // 3 : size // 2, left : left + size // 6, :3] += 0.35
        clip[i, ..., 3] = alphas
    return (255 * clip).round().astype(np.uint8)


def disturb(clip: np.ndarray, seed: int) -> np.ndarray:
    """The frames with noise on color and alpha, shifted by one pixel."""
    noise = np.random.default_rng(seed).normal(0, 12, clip.shape)
    return np.clip(np.roll(clip, 1, axis=2) + noise, 0, 255).round().astype(np.uint8)


def write_views(root: Path, truth: list[np.ndarray], rendered: list[np.ndarray]) -> None:
    frames = []
    for v, (true_clip, clip) in enumerate(zip(truth, rendered, strict=True)):
        for i in range(len(true_clip)):
            name = f"test/view{v}_{i:03d}"
            frames.append({"file_path": f"./{name}", "image": f"{name}.png", "view": f"view{v}", "frame": i})
            for folder, image in (("truth", true_clip[i]), ("rendered", clip[i])):
                path = root / folder / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    (root / "truth" / "transforms_test.json").write_text(json.dumps({"frames": frames}))


@pytest.mark.skipif(not SCRIPT.is_file(), reason=f"needs the independent scoring script {SCRIPT}")
def test_agrees_with_the_scoring_script(tmp_path):
    truth = [moving_disc(5, 48, seed) for seed in (0, 1)] + [moving_disc(1, 48, 2)]
    rendered = [disturb(clip, 7 + i) for i, clip in enumerate(truth)]
    write_views(tmp_path, truth, rendered)
    command = [sys.executable, SCRIPT, tmp_path / "rendered", tmp_path / "truth"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = json.loads(printed.splitlines()[-1])
    ours = average_views([score_view(*pair) for pair in zip(truth, rendered, strict=True)])
    assert list(ours) == list(METRICS)
    for name in METRICS:
        assert ours[name] == pytest.approx(theirs[name], abs=2e-4), name


def test_a_perfect_rendering_has_the_best_scores():
    clip = moving_disc(4, 32, 0)
    scores = score_view(clip, clip)
    assert scores == pytest.approx(
        dict(psnr=60, psnr_object=60, psnr_dynamic=60, ssim=1, iou=1, motion_error=0, still_flicker=0), abs=1e-5
    )


def squares(levels: list[int], size: int = 16, margin: int = 4) -> np.ndarray:
    """A gray square of each frame's level, transparent around it: straight RGBA [T, H, W, 4]."""
    clip = np.zeros((len(levels), size, size, 4), np.uint8)
    for frame, level in zip(clip, levels, strict=True):
        frame[margin:-margin, margin:-margin] = (level, level, level, 255)
    return clip


def test_color_scores_by_hand():
    # 64 of 256 pixels are 51/255 = 0.2 off; the silhouette dilated by one pixel is the square and its rim.
    scores = score_view(squares([100]), squares([151]))
    assert scores["psnr"] == pytest.approx(-10 * math.log10(0.04 * 64 / 256))
    assert scores["psnr_object"] == pytest.approx(-10 * math.log10(0.04 * 64 / (64 + 4 * 8)))
    assert scores["iou"] == 1.0
    assert all(math.isnan(scores[name]) for name in ("psnr_dynamic", "motion_error", "still_flicker"))


def test_motion_scores_by_hand():
    # The truth jumps by 60 in its last frame, far from the median; the rendering stands still, 30 off everywhere else.
    truth, rendered = squares([100, 100, 160]), squares([130, 130, 130])
    scores = score_view(truth, rendered)
    assert scores["psnr_dynamic"] == pytest.approx(-20 * math.log10(30 / 255))
    assert scores["motion_error"] == pytest.approx(60 * (64 / 256) / 2)
    assert math.isnan(scores["still_flicker"])  # all of the object moves
    flickering = score_view(squares([100, 100, 100]), squares([100, 106, 100]))
    assert flickering["still_flicker"] == pytest.approx(6.0)


def test_iou_by_hand():
    shifted = np.roll(squares([100]), 4, axis=2)
    assert score_view(squares([100]), shifted)["iou"] == pytest.approx(32 / 96)


def test_color_of_transparent_pixels_does_not_count():
    clip = squares([100, 120])
    painted = clip.copy()
    painted[..., :3][clip[..., 3] == 0] = 77
    assert score_view(clip, painted)["psnr"] == pytest.approx(60.0)


def test_averages_skip_nan():
    one, two = (dict.fromkeys(METRICS, value) for value in (10.0, 20.0))
    one["psnr_dynamic"] = two["iou"] = one["iou"] = float("nan")
    mean = average_views([one, two])
    assert mean["psnr"] == 15.0
    assert mean["psnr_dynamic"] == 20.0
    assert math.isnan(mean["iou"])


def test_averages_keep_all_scores():
    views = [{"psnr": 20.0, "lpips": 0.2}, {"psnr": 30.0, "lpips": 0.4}]
    assert average_views(views) == pytest.approx({"psnr": 25.0, "lpips": 0.3})


def test_mismatches_are_refused():
    for truth, rendered in (([1, 2], [1]), ([1], [1, 2]), ([], [])):
        with pytest.raises(ValueError, match="rendered"):
            score_view(squares(truth), squares(rendered))
    with pytest.raises(ValueError, match="rendered"):
        score_view(squares([1]), squares([1], size=18))
    with pytest.raises(ValueError, match="at least one view"):
        average_views([])


def test_blocks_of_rows_do_not_change_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = moving_disc(5, 48, 0)
    whole = score_view(truth, disturb(truth, 7))
    monkeypatch.setattr(view_scores, "_BLOCK_BYTES", 1)
    assert score_view(truth, iter(disturb(truth, 7))) == whole


def test_memory_is_that_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all frames there is a mask of one byte per pixel; their colors in float64 would be 24 times as large."""
    monkeypatch.setattr(view_scores, "_BLOCK_BYTES", 2**16)
    truth = moving_disc(100, 48, 0)
    score_view(truth[:1], truth[:1])  # compiles and imports
    tracemalloc.start()
    score_view(truth, (disturb(truth[i : i + 1], i)[0] for i in range(len(truth))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * truth[..., 0].size


def test_psnr_of_known_errors():
    targets = torch.zeros(2, 3, 4, 5)
    images = torch.stack((torch.full((3, 4, 5), 0.1), torch.full((3, 4, 5), 0.5)))
    assert psnr(images, targets) == pytest.approx([20.0, 6.0206], abs=1e-4)


def test_psnr_of_equal_images_is_60_db():
    image = torch.rand(3, 8, 8)
    assert psnr(image, image).item() == pytest.approx(60.0)


@pytest.fixture
def coarse_frames(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two videos of three frames of coarse random colors: straight RGBA."""
    coarse = rng.integers(0, 256, (2, 3, 4, 5, 4), dtype=np.uint8)
    truth, rendered = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return truth, rendered


def test_lpips_is_the_mean_over_frames_on_white(lpips: Lpips, coarse_frames: tuple[np.ndarray, np.ndarray]) -> None:
    truth, rendered = coarse_frames
    expected = []
    for pair in zip(rendered, truth, strict=True):
        on_white = []
        for image in pair:
            rgba = torch.tensor(image / 255).permute(2, 0, 1)
            on_white.append((rgba[:3] * rgba[3] + 1 - rgba[3]).float()[None])
        expected.append(lpips(*on_white).item())
    assert score_view(truth, rendered, lpips=lpips)["lpips"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_lpips_ignores_the_color_of_transparent_pixels(
    lpips: Lpips, coarse_frames: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, other = coarse_frames
    hidden = truth.copy()
    hidden[:, :16, :, 3] = 0
    repainted = hidden.copy()
    repainted[:, :16, :, :3] = other[:, :16, :, :3]
    assert score_view(hidden, repainted, lpips=lpips)["lpips"] == 0
    assert score_view(truth, repainted, lpips=lpips)["lpips"] > 0.01
