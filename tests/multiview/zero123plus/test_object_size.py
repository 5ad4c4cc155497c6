"""How near cameras stand, from masks alone: the sample creature, drawn from where it is known."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from ds4d.data.synthetic import render_sample
from ds4d.multiview.zero123plus.layout import grid_cameras, input_camera
from ds4d.multiview.zero123plus.object_size import fit_zoom, mask_agreement
from ds4d.types import ArrayFrames, Cameras, Video

SIZE, NEARER = 32, 1.3
VIDEO = input_camera(Video(ArrayFrames(np.zeros((1, 1, SIZE, SIZE, 4), np.uint8)), fps=6.0))


@pytest.fixture(scope="module")
def masks() -> Tensor:
    """Of the video and of views in which the object is 1.3 times as large: [1, 7, 1, H, W]."""
    images = render_sample(grid_cameras(VIDEO, "v1.2", NEARER), torch.tensor([0.3]), supersampling=1)
    return torch.from_numpy(images[..., 3]).float()[:, :, None] / 255


def agreement(masks: Tensor, cameras: Cameras) -> float:
    return mask_agreement(masks[0], cameras)


def test_masks_agree_for_the_right_cameras_alone(masks: Tensor) -> None:
    right = agreement(masks, grid_cameras(VIDEO, "v1.2", NEARER))
    assert 0.9 < right <= 1
    for wrong in (0.8, 1.25):
        assert agreement(masks, grid_cameras(VIDEO, "v1.2", wrong * NEARER)) < right - 0.03


def test_empty_masks_do_not_agree(masks: Tensor) -> None:
    assert agreement(torch.zeros_like(masks), grid_cameras(VIDEO, "v1.2")) == 0


@pytest.mark.parametrize("guess", [1.1, 1.5])
def test_the_zoom_is_found(masks: Tensor, guess: float) -> None:
    found = fit_zoom(masks, partial(grid_cameras, VIDEO, "v1.2"), guess)
    assert found == pytest.approx(NEARER, rel=0.05)
