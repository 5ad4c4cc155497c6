import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds4d.metrics import METRICS, average_views, score_view

SCRIPT = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_views.py"


def moving_disc(frames: int, size: int, seed: int) -> np.ndarray:
    """A textured disc with a soft edge on which a brighter square wanders: straight RGBA [T, H, W, 4]."""
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
    """The clip with noise on color and silhouette, one pixel aside."""
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


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the scoring script that the scores are compared with is not here")
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


def test_scores_of_a_perfect_rendering():
    clip = moving_disc(4, 32, 0)
    scores = score_view(clip, clip)
    assert scores == pytest.approx(
        dict(psnr=60, psnr_object=60, psnr_dynamic=60, ssim=1, iou=1, motion_error=0, still_flicker=0), abs=1e-5
    )


def squares(levels: list[int], size: int = 16, margin: int = 4) -> np.ndarray:
    """A gray square of each frame's level in the middle of nothing: straight RGBA [T, H, W, 4]."""
    clip = np.zeros((len(levels), size, size, 4), np.uint8)
    for frame, level in zip(clip, levels, strict=True):
        frame[margin:-margin, margin:-margin] = (level, level, level, 255)
    return clip


def test_color_scores_by_hand():
    # 64 of 256 pixels are 51/255 = 0.2 off; the silhouette grown by one pixel (the least) is the square and its rim.
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


def test_color_under_no_alpha_does_not_count():
    clip = squares([100, 120])
    painted = clip.copy()
    painted[..., :3][clip[..., 3] == 0] = 77
    assert score_view(clip, painted)["psnr"] == pytest.approx(60.0)


def test_average_ignores_views_that_lack_a_score():
    one, two = (dict.fromkeys(METRICS, value) for value in (10.0, 20.0))
    one["psnr_dynamic"] = two["iou"] = one["iou"] = float("nan")
    mean = average_views([one, two])
    assert mean["psnr"] == 15.0
    assert mean["psnr_dynamic"] == 20.0
    assert math.isnan(mean["iou"])


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"rendered must have the shape of truth \[2, 16, 16, 4\].*Render the true"):
        score_view(squares([1, 2]), squares([1]))
    with pytest.raises(ValueError, match="at least one view"):
        average_views([])
