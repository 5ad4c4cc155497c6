"""Gaussians for the browser: known covariances, colors, and half precision."""

import numpy as np
import torch

from ds4d.geometry import evaluate_sh
from ds4d.types import RawGaussians
from ds4d.viewer.splat_arrays import MAGNIFICATION, splat_arrays


def test_a_rotated_ellipsoid_has_a_rotated_covariance() -> None:
    """A rotation by 90 degrees about z takes the long x axis to y."""
    raw = RawGaussians(
        means=torch.tensor([[[0.1, 0.2, 0.3]]]),
        quats=torch.tensor([[[1.0, 0.0, 0.0, 1.0]]]),
        log_scales=torch.tensor([[[0.3, 0.1, 0.2]]]).log(),
        opacity_logits=torch.zeros(1, 1),
        sh=torch.zeros(1, 1, 3),
    )
    arrays = splat_arrays(raw.activate())
    np.testing.assert_allclose(arrays.centers / MAGNIFICATION, [[0.1, 0.2, 0.3]], rtol=1e-6)
    expected = np.diag([0.1**2, 0.3**2, 0.2**2])
    np.testing.assert_allclose(arrays.covariances[0] / MAGNIFICATION**2, expected, atol=1e-8)
    np.testing.assert_allclose(arrays.opacities, [[0.5]])
    np.testing.assert_allclose(arrays.colors, [[0.5, 0.5, 0.5]])


def test_colors_are_view_independent_and_may_change_over_time(tiny_gaussians: RawGaussians) -> None:
    still = splat_arrays(tiny_gaussians.expand_times(1).activate())
    plain = evaluate_sh(tiny_gaussians.sh[:, :1], torch.ones(3)).clamp(0, 1)
    np.testing.assert_allclose(still.colors, plain, atol=1e-6)
    colored = RawGaussians(**{**vars(tiny_gaussians.expand_times(1)), "sh": tiny_gaussians.sh[None] * 0.5})
    changed = splat_arrays(colored.activate())
    np.testing.assert_allclose(changed.colors, evaluate_sh(0.5 * tiny_gaussians.sh[:, :1], torch.ones(3)), atol=1e-6)


def test_thin_gaussians_keep_their_shape_in_half_precision() -> None:
    """The thinnest that matter: a thousandth of the object's radius."""
    raw = RawGaussians(
        means=torch.zeros(1, 1, 3),
        quats=torch.tensor([[[0.9, 0.1, -0.3, 0.2]]]),
        log_scales=torch.full((1, 1, 3), 5e-4).log(),
        opacity_logits=torch.zeros(1, 1),
        sh=torch.zeros(1, 1, 3),
    )
    covariance = splat_arrays(raw.activate()).covariances[0]
    in_browser = covariance.astype(np.float16).astype(np.float64) / MAGNIFICATION**2
    np.testing.assert_allclose(np.diag(in_browser), 5e-4**2, rtol=2e-3)
