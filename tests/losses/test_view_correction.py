"""What a generated view may differ by, and that it is found."""

import pytest
import torch
from torch import Tensor

from ds4d.losses import AlignmentConfig, ViewAlignment

GENERATED = torch.tensor([False, True, True])


@pytest.fixture
def pictures(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Colours over backgrounds, coverage and backgrounds of three smooth blobs."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    alphas = (-((x - 0.1) ** 2 + (y + 0.2) ** 2) / 0.15).exp().expand(3, 1, -1, -1).clone()
    backgrounds = torch.rand(3, 3, generator=generator)
    paint = torch.stack((0.5 + 0.4 * x, 0.5 - 0.4 * y, 0.3 + 0 * x))
    return alphas * paint + (1 - alphas) * backgrounds[..., None, None], alphas, backgrounds


def made(**settings: float) -> ViewAlignment:
    return ViewAlignment(AlignmentConfig(**settings), GENERATED)  # ty: ignore[invalid-argument-type]


def everything(alignment: ViewAlignment, size: float) -> ViewAlignment:
    torch.manual_seed(0)
    for parameter in alignment.parameters():
        torch.nn.init.normal_(parameter, std=size)
    return alignment


TIMES, VIEWS = torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 1, 2])


def test_at_the_start_every_view_shows_what_is_drawn(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    colors, alphas = made()(*pictures, TIMES, VIEWS)
    torch.testing.assert_close(colors, pictures[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(alphas, pictures[1], atol=1e-5, rtol=0)


def test_the_real_view_is_never_changed(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    alignment = everything(made(), 0.1)
    colors, alphas = alignment(*pictures, TIMES, VIEWS)
    torch.testing.assert_close(colors[0], pictures[0][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(alphas[0], pictures[1][0], atol=1e-5, rtol=0)
    assert (colors[1:] - pictures[0][1:]).abs().amax((1, 2, 3)).min() > 0.01
    assert not alignment.of_clip(TIMES)[:, 0].any()


def test_a_shift_to_the_right_looks_further_right(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    alignment = made()
    with torch.no_grad():
        alignment.warp[1, 0] = 2 * 3 / 32  # three pixels in half pictures
    _, alphas = alignment(*pictures, TIMES, VIEWS)
    torch.testing.assert_close(alphas[1, :, :, :-4], pictures[1][1, :, :, 3:-1], atol=1e-5, rtol=0)


def test_gains_change_the_object_and_not_what_is_behind_it(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    alignment = made()
    with torch.no_grad():
        alignment.gain[2] = torch.tensor([2.0, 1.0, 0.5]).log()
    colors, _ = alignment(*pictures, TIMES, VIEWS)
    behind = (1 - pictures[1]) * pictures[2][..., None, None]
    expected = (pictures[0] - behind)[2] * torch.tensor([2.0, 1.0, 0.5])[:, None, None] + behind[2]
    torch.testing.assert_close(colors[2], expected, atol=1e-5, rtol=0)


def test_between_two_knots_the_warp_changes_linearly() -> None:
    alignment = made(knots=3)
    with torch.no_grad():
        alignment.warp_over_time[:, 1] = torch.tensor([0.0, 1.0, 4.0]).reshape(3, 1, 1, 1)
    times = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    found = alignment.displacements(times, torch.ones(5, dtype=torch.long))[:, 0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 1.0, 2.5, 4.0]))


def test_one_knot_stands_for_all_times() -> None:
    alignment = everything(made(knots=1), 0.1)
    warps = alignment.of_clip(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(warps[0], warps[1])
    assert warps[:, 1:].abs().min() > 0


def test_the_penalty_is_that_of_what_differs() -> None:
    assert made().penalty() == 0
    alignment = made(weight=2.0)
    with torch.no_grad():
        alignment.gain.fill_(0.5)
    torch.testing.assert_close(alignment.penalty(), torch.tensor(0.5))


def test_a_warp_and_a_gain_are_found_from_pictures(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    truth = made()
    with torch.no_grad():
        truth.warp[1] = 0.06 * torch.tensor([1.0, -0.5]).reshape(2, 1, 1)
        truth.gain[1] = torch.tensor([0.1, 0.0, -0.1])
        wanted = truth(*pictures, TIMES, VIEWS)
    alignment = made(weight=0.0)
    optimizer = torch.optim.Adam(alignment.parameters(), lr=5e-3)
    for _ in range(150):
        found = alignment(*pictures, TIMES, VIEWS)
        loss = sum((a - b).square().mean() for a, b in zip(found, wanted, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        middle = alignment.displacements(TIMES[1:2], VIEWS[1:2])[0, :, 2, 2]
        torch.testing.assert_close(middle, truth.warp[1, :, 2, 2], atol=0.01, rtol=0)
        gains = alignment.gains(TIMES[1:2], VIEWS[1:2])[0].log()
        torch.testing.assert_close(gains, truth.gain[1], atol=0.03, rtol=0)


def test_everything_learns_but_what_belongs_to_the_real_view(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    alignment = made(weight=0.0)
    colors, alphas = alignment(*pictures, TIMES, VIEWS)
    (colors.square().sum() + alphas.square().sum()).backward()
    for parameter in (alignment.warp, alignment.gain):
        assert parameter.grad is not None
        assert not parameter.grad[0].any() and (parameter.grad[1:].flatten(1).abs().sum(1) > 0).all()
