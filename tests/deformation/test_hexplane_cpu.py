"""The compiled reads, which the CPU takes in single precision, against the tensor form, which it takes in double."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from ds4d.deformation import HexPlane, HexPlaneConfig

BOX = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 4.0]])
ON_THE_BORDER = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 4.0], [-1.0, 2.0, 1.3], [0.4, -0.3, 4.0]])
OUTSIDE = torch.tensor([[9.0, 0.3, 1.0], [-9.0, -9.0, -9.0], [0.1, 0.2, torch.inf], [0.3, 1e30, 5.0]])
SIZES = {
    "as in a fit": (HexPlaneConfig(channels=8, resolution=8, multipliers=(1, 2, 4)), [0.2, 0.63]),
    "the smallest": (HexPlaneConfig(channels=1, resolution=2, multipliers=(1,), time_resolution=2), [0.4]),
    "many channels": (HexPlaneConfig(channels=11, resolution=5, multipliers=(2, 1), time_resolution=4), [0.7]),
    "at rows and ends": (HexPlaneConfig(channels=3, resolution=5, multipliers=(1,)), [0.0, 0.3, 0.5, 1.0]),
}


def filled(config: HexPlaneConfig) -> HexPlane:
    planes, generator = HexPlane(config, BOX, 5), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for plane in planes.parameters():
            plane.copy_(torch.randn(plane.shape, generator=generator))
    return planes


def points(count: int) -> Tensor:
    return BOX[0] + torch.rand(count, 3, generator=torch.Generator().manual_seed(2)) * (BOX[1] - BOX[0])


def read(planes: HexPlane, where: Tensor, times: Tensor) -> list[Tensor]:
    """Features, and gradients of points, times and planes, each feature pulled differently."""
    planes.zero_grad()
    where, times = where.clone().requires_grad_(), times.clone().requires_grad_()
    features = planes(where, times)
    assert ("_ReadProducts" in str(features.grad_fn)) == (features.dtype == torch.float32)
    grads = torch.randn(features.shape, generator=torch.Generator().manual_seed(3)).to(features)
    features.backward(grads)
    leaves = (where, times, *planes.parameters())
    return [features.detach(), *(torch.zeros_like(x) if x.grad is None else x.grad.clone() for x in leaves)]


@pytest.mark.parametrize(("config", "times"), SIZES.values(), ids=SIZES.keys())
def test_values_and_gradients_are_those_of_the_tensor_form(config: HexPlaneConfig, times: list[float]) -> None:
    planes, when = filled(config), torch.tensor(times)
    where = torch.cat((points(300), ON_THE_BORDER, OUTSIDE))
    expected = read(deepcopy(planes).double(), where.double(), when.double())
    for found, wide in zip(read(planes, where, when), expected, strict=True):
        torch.testing.assert_close(found, wide.float(), rtol=1e-5, atol=1e-5 * wide.abs().max().item())


def test_planes_learn_the_same_whether_or_not_points_do() -> None:
    planes, times = filled(SIZES["as in a fit"][0]), torch.tensor([0.1, 0.9])
    _, _, _, *expected = read(planes, points(100), times)
    planes.zero_grad()
    features = planes(points(100), times)
    features.backward(torch.randn(features.shape, generator=torch.Generator().manual_seed(3)))
    assert all(torch.equal(plane.grad, wanted) for plane, wanted in zip(planes.parameters(), expected, strict=True))


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    planes, where, times = filled(SIZES["as in a fit"][0]), points(5000), torch.tensor([0.1, 0.9])
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr("ds4d.core.threads.torch.get_num_threads", lambda count=threads: count)
        found.append(read(planes, where, times))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_no_points_have_no_features_and_pull_at_nothing() -> None:
    planes = filled(SIZES["as in a fit"][0])
    features, *gradients = read(planes, torch.zeros(0, 3), torch.tensor([0.0, 1.0]))
    assert features.shape == (2, 0, 24)
    assert not any(gradient.any() for gradient in gradients)


def test_a_point_that_is_no_number_has_no_features_and_leaves_others_alone() -> None:
    planes, times = filled(SIZES["as in a fit"][0]), torch.tensor([0.0, 0.4, 1.0])
    where = torch.cat((points(50), ON_THE_BORDER))
    lost = torch.tensor([[torch.nan, 0.1, 0.2], [0.3, torch.nan, 9.0], [torch.nan, torch.nan, torch.nan]])
    features, by_points, *_ = read(planes, torch.cat((where, lost)), times)
    assert features[:, -3:].isnan().all()
    torch.testing.assert_close(features[:, :-3], read(planes, where, times)[0])
    assert by_points[:-3].isfinite().all()
