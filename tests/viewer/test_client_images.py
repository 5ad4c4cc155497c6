"""Depth maps: colors, range and background."""

import numpy as np
import pytest
import torch

from ds4d.geometry import orbit_cameras
from ds4d.rendering import renderer_for
from ds4d.types import Gaussians, RawGaussians
from ds4d.viewer.camera_poses import CameraPose
from ds4d.viewer.client_images import render_depth


def blob(z: float) -> Gaussians:
    """One opaque Gaussian on the axis of the front camera."""
    return RawGaussians(
        means=torch.tensor([[[0.0, 0.0, z]]]),
        quats=torch.tensor([[[1.0, 0, 0, 0]]]),
        log_scales=torch.full((1, 1, 3), 0.1).log(),
        opacity_logits=torch.full((1, 1), 9.0),
        sh=torch.zeros(1, 1, 3),
    ).activate()


@pytest.fixture
def front() -> CameraPose:
    """A camera at distance 2 from the origin."""
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=40, height=40)
    return CameraPose.from_cameras(cameras[None], 0, 0)


def middle(z: float, pose: CameraPose) -> np.ndarray:
    """The center pixel of the depth map of a blob."""
    return render_depth(blob(z), renderer_for("cpu"), pose, height=40, background=(255, 0, 0))[20, 20].astype(int)


def test_near_is_bright_and_far_is_dark(front: CameraPose) -> None:
    near, half, far = (middle(z, front).sum() for z in (0.5, 0.0, -0.5))
    assert near > half + 50 > far + 100


def test_the_range_is_the_bounding_sphere(front: CameraPose) -> None:
    """viridis ends in (253, 231, 37) and (68, 1, 84); a little of the red background shines through."""
    np.testing.assert_allclose(middle(0.5, front), (253, 231, 37), atol=10)
    np.testing.assert_allclose(middle(-0.5, front), (68, 1, 84), atol=10)


def test_empty_pixels_show_the_background(front: CameraPose) -> None:
    image = render_depth(blob(0.0), renderer_for("cpu"), front, height=40, background=(10, 200, 30))
    assert image.shape == (40, 40, 3)
    np.testing.assert_array_equal(image[0, 0], (10, 200, 30))


def test_large_canvases_are_rendered_smaller(front: CameraPose) -> None:
    image = render_depth(blob(0.0), renderer_for("cpu"), front, height=2000, background=(0, 0, 0))
    assert image.shape == (480, 480, 3)
