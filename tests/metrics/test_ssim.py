"""SSIM: the definition, gradients, and the CPU kernel against the tensor form."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ds4d.metrics import ssim


def _direct_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The definition for each window: weighted means, variances and covariance in double precision."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for x, y in zip(a, b, strict=True):
        for top in range(x.shape[0] - 10):
            for left in range(x.shape[1] - 10):
                p, q = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
                covariance = (window * (p - mean_p) * (q - mean_q)).sum()
                values.append(
                    (2 * mean_p * mean_q + 1e-4)
                    * (2 * covariance + 9e-4)
                    / ((mean_p**2 + mean_q**2 + 1e-4) * (var_p + var_q + 9e-4))
                )
    return float(np.mean(values))


def _pair(generator: torch.Generator, *shape: int) -> tuple[Tensor, Tensor]:
    a = torch.rand(*shape, generator=generator)
    return a, (a + 0.3 * torch.randn(*shape, generator=generator)).clamp(0, 1)


def test_equals_the_definition(generator: torch.Generator) -> None:
    a, b = _pair(generator, 3, 17, 22)
    assert float(ssim(a, b)) == pytest.approx(_direct_ssim(a.double().numpy(), b.double().numpy()), abs=1e-6)


def test_float32_is_accurate_on_smooth_bright_images() -> None:
    """There, variances are differences of large numbers."""
    ramp = torch.linspace(0.9, 1.0, 64).expand(3, 64, 64)
    other = ramp.flip(-1)
    assert float(ssim(ramp, other)) == pytest.approx(float(ssim(ramp.double(), other.double())), abs=1e-5)


def test_equal_images_score_1(generator: torch.Generator) -> None:
    a, _ = _pair(generator, 2, 3, 20, 20)
    assert ssim(a, a) == pytest.approx([1.0, 1.0])


def test_uniform_images_score_their_luminance() -> None:
    a, b = torch.full((3, 11, 11), 0.25), torch.full((3, 11, 11), 0.75)
    assert float(ssim(a, b)) == pytest.approx((2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4), abs=1e-5)


def test_scores_are_symmetric_and_per_image(generator: torch.Generator) -> None:
    a, b = _pair(generator, 2, 2, 3, 16, 16)
    scores = ssim(a, b)
    assert scores.shape == (2, 2)
    assert scores.flatten() == pytest.approx(ssim(b, a).flatten())
    for t in range(2):
        for v in range(2):
            assert float(scores[t, v]) == pytest.approx(float(ssim(a[t, v], b[t, v])), abs=1e-6)


def test_gradients_equal_finite_differences(generator: torch.Generator) -> None:
    a, b = (x.double().requires_grad_() for x in _pair(generator, 1, 3, 12, 11))
    assert torch.autograd.gradcheck(ssim, (a, b))


def test_gradient_ascent_makes_images_equal(generator: torch.Generator) -> None:
    a, b = _pair(generator, 3, 24, 24)
    guess = a.clone().requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=0.02)
    before = float(ssim(a, b))
    for _ in range(60):
        optimizer.zero_grad()
        (1 - ssim(guess, b)).backward()
        optimizer.step()
    assert before < 0.8 and float(ssim(guess.detach(), b)) > 0.97


def test_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(torch.zeros(3, 10, 40), torch.zeros(3, 10, 40))


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu(generator: torch.Generator) -> None:
    """Reduced-precision (TF32) convolutions would be off by 1e-3 and more."""
    a, b = _pair(generator, 4, 3, 64, 64)
    assert ssim(a.cuda(), b.cuda()).cpu() == pytest.approx(ssim(a, b), abs=1e-5)


def test_the_cpu_kernel_equals_the_tensor_form(generator: torch.Generator) -> None:
    """Single precision uses the kernel, double precision tensors; for gradients of one image and of both."""
    a, b = _pair(generator, 2, 2, 3, 20, 33)
    grads = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
    wide_a, wide_b = a.double().requires_grad_(), b.double().requires_grad_()
    expected = ssim(wide_a, wide_b)
    (expected * grads).sum().backward()
    for grad_a, grad_b in ((True, True), (True, False), (False, True)):
        narrow_a, narrow_b = a.clone().requires_grad_(grad_a), b.clone().requires_grad_(grad_b)
        found = ssim(narrow_a, narrow_b)
        torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-6)
        (found * grads).sum().backward()
        for narrow, wide in ((narrow_a, wide_a), (narrow_b, wide_b)):
            if narrow.requires_grad:
                torch.testing.assert_close(narrow.grad, wide.grad.float(), rtol=1e-4, atol=1e-8)


def test_nan_pixels_give_a_nan_score(generator: torch.Generator) -> None:
    a, b = _pair(generator, 2, 3, 16, 16)
    a[1, 0, 8, 8] = torch.nan
    first, second = ssim(a, b)
    assert first.isfinite() and second.isnan()
