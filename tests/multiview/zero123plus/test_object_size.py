"""How near cameras stand, from silhouettes alone: the sample creature, drawn from where it is known."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from ds4d.data.synthetic import render_sample
from ds4d.multiview.zero123plus.layout import sheet_cameras, video_camera
from ds4d.multiview.zero123plus.object_size import fit_nearness, silhouette_agreement
from ds4d.types import ArrayFrames, Cameras, Video

SIZE, NEARER = 32, 1.3
VIDEO = video_camera(Video(ArrayFrames(np.zeros((1, 1, SIZE, SIZE, 4), np.uint8)), fps=6.0))


@pytest.fixture(scope="module")
def silhouettes() -> Tensor:
    """Of the video and of views in which the object is 1.3 times as large: [1, 7, 1, H, W]."""
    images = render_sample(sheet_cameras(VIDEO, "v1.2", NEARER), torch.tensor([0.3]), supersampling=1)
    return torch.from_numpy(images[..., 3]).float()[:, :, None] / 255


def agreement(silhouettes: Tensor, cameras: Cameras) -> float:
    return silhouette_agreement(silhouettes[0], cameras)


def test_silhouettes_agree_under_the_right_cameras_alone(silhouettes: Tensor) -> None:
    right = agreement(silhouettes, sheet_cameras(VIDEO, "v1.2", NEARER))
    assert 0.9 < right <= 1
    for wrong in (0.8, 1.25):
        assert agreement(silhouettes, sheet_cameras(VIDEO, "v1.2", wrong * NEARER)) < right - 0.03


def test_nothing_agrees_with_nothing(silhouettes: Tensor) -> None:
    assert agreement(torch.zeros_like(silhouettes), sheet_cameras(VIDEO, "v1.2")) == 0


@pytest.mark.parametrize("guess", [1.1, 1.5])
def test_the_distance_is_found(silhouettes: Tensor, guess: float) -> None:
    found = fit_nearness(silhouettes, partial(sheet_cameras, VIDEO, "v1.2"), guess)
    assert found == pytest.approx(NEARER, rel=0.05)
