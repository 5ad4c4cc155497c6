"""View correction: warps and gains, and that they are recovered from images."""

import pytest
import torch
from torch import Tensor

from ds4d.losses import ViewCorrection, ViewCorrectionConfig
from ds4d.losses.view_correction_cpu import supports

GENERATED = torch.tensor([False, True, True])


@pytest.fixture
def images(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Colors over backgrounds, opacity and backgrounds of three smooth blobs."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    alphas = (-((x - 0.1) ** 2 + (y + 0.2) ** 2) / 0.15).exp().expand(3, 1, -1, -1).clone()
    backgrounds = torch.rand(3, 3, generator=generator)
    paint = torch.stack((0.5 + 0.4 * x, 0.5 - 0.4 * y, 0.3 + 0 * x))
    return alphas * paint + (1 - alphas) * backgrounds[..., None, None], alphas, backgrounds


def made(**settings: int) -> ViewCorrection:
    return ViewCorrection(ViewCorrectionConfig(**settings), GENERATED)


def randomized(correction: ViewCorrection, size: float) -> ViewCorrection:
    torch.manual_seed(0)
    for parameter in correction.parameters():
        torch.nn.init.normal_(parameter, std=size)
    return correction


TIMES, VIEWS = torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 1, 2])


def test_initial_correction_is_the_identity(images: tuple[Tensor, Tensor, Tensor]) -> None:
    colors, alphas = made()(*images, TIMES, VIEWS)
    torch.testing.assert_close(colors, images[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(alphas, images[1], atol=1e-5, rtol=0)


def test_the_input_view_is_not_corrected(images: tuple[Tensor, Tensor, Tensor]) -> None:
    correction = randomized(made(), 0.1)
    colors, alphas = correction(*images, TIMES, VIEWS)
    torch.testing.assert_close(colors[0], images[0][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(alphas[0], images[1][0], atol=1e-5, rtol=0)
    assert (colors[1:] - images[0][1:]).abs().amax((1, 2, 3)).min() > 0.01
    assert not correction.at_times(TIMES)[:, 0].any()


def test_a_warp_to_the_right_samples_further_right(images: tuple[Tensor, Tensor, Tensor]) -> None:
    correction = made()
    with torch.no_grad():
        correction.warp[1, 0] = 2 * 3 / 32  # three pixels in half images
    _, alphas = correction(*images, TIMES, VIEWS)
    torch.testing.assert_close(alphas[1, :, :, :-4], images[1][1, :, :, 3:-1], atol=1e-5, rtol=0)


def test_gains_leave_the_background_unchanged(images: tuple[Tensor, Tensor, Tensor]) -> None:
    correction = made()
    with torch.no_grad():
        correction.gain[2] = torch.tensor([2.0, 1.0, 0.5]).log()
    colors, _ = correction(*images, TIMES, VIEWS)
    behind = (1 - images[1]) * images[2][..., None, None]
    expected = (images[0] - behind)[2] * torch.tensor([2.0, 1.0, 0.5])[:, None, None] + behind[2]
    torch.testing.assert_close(colors[2], expected, atol=1e-5, rtol=0)


def test_warps_are_linear_between_knots() -> None:
    correction = made(knots=3)
    with torch.no_grad():
        correction.warp_over_time[:, 1] = torch.tensor([0.0, 1.0, 4.0]).reshape(3, 1, 1, 1)
    times = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    found = correction.warps(times, torch.ones(5, dtype=torch.long))[:, 0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 1.0, 2.5, 4.0]))


def test_one_knot_is_constant_over_time() -> None:
    correction = randomized(made(knots=1), 0.1)
    warps = correction.at_times(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(warps[0], warps[1])
    assert warps[:, 1:].abs().min() > 0


def test_parameters_of_generated_views() -> None:
    correction = randomized(made(), 0.1)
    warps, gains = correction.of_generated_views()
    torch.testing.assert_close(warps, [correction.warp[1:], correction.warp_over_time[:, 1:]])
    torch.testing.assert_close(gains, [correction.gain[1:], correction.gain_over_time[:, 1:]])


def test_warps_and_gains_are_recovered_from_images(images: tuple[Tensor, Tensor, Tensor]) -> None:
    truth = made()
    with torch.no_grad():
        truth.warp[1] = 0.06 * torch.tensor([1.0, -0.5]).reshape(2, 1, 1)
        truth.gain[1] = torch.tensor([0.1, 0.0, -0.1])
        wanted = truth(*images, TIMES, VIEWS)
    correction = made()
    optimizer = torch.optim.Adam(correction.parameters(), lr=5e-3)
    for _ in range(150):
        found = correction(*images, TIMES, VIEWS)
        loss = sum((a - b).square().mean() for a, b in zip(found, wanted, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        middle = correction.warps(TIMES[1:2], VIEWS[1:2])[0, :, 2, 2]
        torch.testing.assert_close(middle, truth.warp[1, :, 2, 2], atol=0.01, rtol=0)
        gains = correction.gains(TIMES[1:2], VIEWS[1:2])[0].log()
        torch.testing.assert_close(gains, truth.gain[1], atol=0.03, rtol=0)


def test_only_parameters_of_generated_views_get_gradients(images: tuple[Tensor, Tensor, Tensor]) -> None:
    correction = made()
    colors, alphas = correction(*images, TIMES, VIEWS)
    (colors.square().sum() + alphas.square().sum()).backward()
    for parameter in (correction.warp, correction.gain):
        assert parameter.grad is not None
        assert not parameter.grad[0].any() and (parameter.grad[1:].flatten(1).abs().sum(1) > 0).all()


def outcome(correction: ViewCorrection, inputs: tuple[Tensor, Tensor, Tensor], times: Tensor) -> list[Tensor]:
    """The corrected images, and the gradients of images and parameters for incoming ones that differ everywhere."""
    colors, alphas = (x.detach().clone().requires_grad_() for x in inputs[:2])
    found = correction(colors, alphas, inputs[2], times, torch.tensor([1, 0, 2]))
    total = sum((x * (torch.arange(x.numel()).reshape(x.shape) * 0.7).sin()).sum() for x in found)
    leaves = (colors, alphas, *correction.parameters())
    return [x.detach().float() for x in (*found, *torch.autograd.grad(total, leaves))]


@pytest.mark.parametrize("size", [0.003, 0.05, 0.5])  # half a pixel; over the border; far beyond it
@pytest.mark.parametrize("cut", [32, 19])
def test_the_kernel_agrees_with_tensor_operations(images: tuple[Tensor, Tensor, Tensor], size: float, cut: int) -> None:
    correction = randomized(made(), size)
    inputs = (images[0][..., :cut].contiguous(), images[1][..., :cut].contiguous(), images[2])
    assert supports(*inputs[:2])
    found = outcome(correction, inputs, TIMES)
    double = tuple(x.double() for x in inputs)
    assert not supports(*double[:2])
    expected = outcome(correction.double(), (double[0], double[1], double[2]), TIMES.double())
    for ours, theirs in zip(found, expected, strict=True):
        # A position on the border, or between two cells, has another slope on either side.
        torch.testing.assert_close(ours, theirs, atol=2e-3 * float(theirs.abs().max()), rtol=1e-3)


def test_the_kernel_gives_the_same_bits_on_more_threads(images: tuple[Tensor, Tensor, Tensor]) -> None:
    correction, threads = randomized(made(), 0.05), torch.get_num_threads()
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            found.append(outcome(correction, images, TIMES))
        finally:
            torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))
