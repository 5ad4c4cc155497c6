"""LPIPS as a score of a view's frames."""

import numpy as np
import pytest
import torch

from ds4d.metrics import Lpips, average_views, score_lpips


@pytest.fixture
def clips(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three frames of coarse colors, and other ones: straight RGBA."""
    coarse = rng.integers(0, 256, (2, 3, 4, 5, 4), dtype=np.uint8)
    truth, rendered = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return truth, rendered


def test_is_the_mean_over_frames_composited_on_white(lpips: Lpips, clips: tuple[np.ndarray, np.ndarray]) -> None:
    truth, rendered = clips
    expected = []
    for pair in zip(rendered, truth, strict=True):
        on_white = []
        for image in pair:
            rgba = torch.tensor(image / 255).permute(2, 0, 1)
            on_white.append((rgba[:3] * rgba[3] + 1 - rgba[3]).float()[None])
        expected.append(lpips(*on_white).item())
    assert score_lpips(truth, rendered, lpips) == pytest.approx(np.mean(expected), rel=1e-5)


def test_equal_images_score_nothing_and_colors_under_no_alpha_do_not_count(
    lpips: Lpips, clips: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, other = clips
    hidden = truth.copy()
    hidden[:, :16, :, 3] = 0
    repainted = hidden.copy()
    repainted[:, :16, :, :3] = other[:, :16, :, :3]
    assert score_lpips(hidden, repainted, lpips) == 0
    assert score_lpips(truth, repainted, lpips) > 0.01


def test_views_are_averaged_with_all_their_scores() -> None:
    views = [{"psnr": 20.0, "lpips": 0.2}, {"psnr": 30.0, "lpips": 0.4}]
    assert average_views(views) == pytest.approx({"psnr": 25.0, "lpips": 0.3})
