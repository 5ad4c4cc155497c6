"""Images as files hold them."""

import numpy as np
import pytest
import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import FusionConfig
from ds4d.geometry import orbit_cameras, rgb_to_sh
from ds4d.rendering import ReferenceRenderer
from ds4d.scene import DynamicGaussians, FrameFeatureCache, Motion, Timeline, render_depths, render_rgb, render_rgba
from ds4d.types import Cameras, RawGaussians, Similarity
from ds4d.visualize import orbit_path

WHITE, ORANGE = 255, (255, 128, 0)


@pytest.fixture
def ball() -> DynamicGaussians:
    """One large orange Gaussian that hardly lets light through, at rest."""
    raw = RawGaussians(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.full((1, 3), 0.1).log(),
        opacity_logits=torch.tensor([4.0]),
        sh=rgb_to_sh(torch.tensor([[[1.0, 128 / 255, 0.0]]])),
    )
    return DynamicGaussians(raw, None, Timeline((0.0, 1.0), 1.0, False), Similarity.identity())


def path(count: int) -> Cameras:
    return orbit_path(count, elevation_deg=0.0, fovy_deg=40.0, distance=2.0, size=33)


def test_images_have_straight_alpha(ball: DynamicGaussians) -> None:
    (image,) = render_rgba(ball, ReferenceRenderer(), path(1), torch.zeros(1))
    assert image.dtype == np.uint8 and image.shape == (33, 33, 4)
    assert (image[0, 0] == 0).all()
    covered = image[..., 3] > 20
    assert np.abs(image[covered][:, :3].astype(int) - ORANGE).max() <= 1  # the color itself, also where it is faint
    assert image[16, 16, 3] == pytest.approx(255 * torch.tensor(4.0).sigmoid(), abs=1)


def test_images_on_white_agree_with_those_with_alpha(ball: DynamicGaussians) -> None:
    (rgba,) = render_rgba(ball, ReferenceRenderer(), path(1), torch.zeros(1))
    (rgb,) = render_rgb(ball, ReferenceRenderer(), path(1), torch.zeros(1))
    alpha = rgba[..., 3:] / 255
    composed = rgba[..., :3] * alpha + WHITE * (1 - alpha)
    assert np.abs(composed - rgb).max() <= 1.5  # each is rounded once
    assert (rgb[0, 0] == WHITE).all()


def test_there_is_one_image_per_time_however_many(ball: DynamicGaussians) -> None:
    images = list(render_rgb(ball, ReferenceRenderer(), path(19), torch.linspace(0, 1, 19)))
    assert len(images) == 19
    assert all((image == images[0]).mean() > 0.95 for image in images)  # the ball is round


def test_drawing_leaves_gradients_on_for_its_caller(ball: DynamicGaussians) -> None:
    images = render_rgb(ball, ReferenceRenderer(), path(2), torch.zeros(2))
    next(images)
    assert torch.is_grad_enabled()


def test_depths_are_covered_into_every_view_at_every_time(ball: DynamicGaussians) -> None:
    """The ball is 2 away at first and comes 0.3 nearer to the front; where it is not there is depth 0."""
    cameras = orbit_cameras([0.0, 90.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=32, height=32)
    features = FrameFeatureCache(
        torch.zeros(2, 2, 1, 4, 4),
        torch.ones(2, 2),
        torch.tensor([0.0, 1.0]),
        cameras,
        depths=torch.full((2, 2, 1, 16, 16), 9.0).half(),
    )
    field = FieldConfig(HexPlaneConfig(channels=2, resolution=2, multipliers=(1,)), width=4)
    motion = Motion(field, torch.tensor([[-0.5] * 3, [0.5] * 3]), 2, fusion=FusionConfig(channels=1), features=features)
    motion.changes = lambda means, times, observation: {  # ty: ignore[invalid-assignment]
        "means": 0.3 * times[:, None, None] * torch.tensor([0.0, 0.0, 1.0]),
        "quats": torch.zeros(2, 1, 4),
        "log_scales": torch.zeros(2, 1, 3),
    }
    ball.motion = motion
    depths = render_depths(ball, ReferenceRenderer(), torch.tensor([0, 1]))
    torch.testing.assert_close(depths[:, :, 0, 7, 7], torch.tensor([[2.0, 2.0], [1.7, 0.0]]), atol=1e-3, rtol=0)
    assert depths[0, 1, 0, 7, 4] == 0 and depths[1, 1, 0, 7, 4] > 1.9  # to the left, seen from there
    assert not depths[..., 0, :].any() and (depths > 0).float().mean() > 0.02
    assert not depths.requires_grad
