"""All reads of the HexPlane: the compiled ones of the CPU and the fused ones of the GPU against the tensor form."""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.core import fused_parts
from ds4d.deformation import HexPlane, HexPlaneConfig

BOX = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 4.0]])
ON_THE_BORDER = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 4.0], [-1.0, 2.0, 1.3], [0.4, -0.3, 4.0]])
OUTSIDE = torch.tensor([[9.0, 0.3, 1.0], [-9.0, -9.0, -9.0], [0.1, 0.2, torch.inf], [0.3, 1e30, 5.0]])
SIZES = {
    "as in a fit": (HexPlaneConfig(channels=16, resolution=8, multipliers=(1, 2, 4)), [0.2, 0.63]),
    "the smallest": (HexPlaneConfig(channels=1, resolution=2, multipliers=(1,), time_resolution=2), [0.4]),
    "odd channels": (HexPlaneConfig(channels=11, resolution=5, multipliers=(2, 1), time_resolution=4), [0.7]),
    "at rows and ends": (HexPlaneConfig(channels=3, resolution=5, multipliers=(1,)), [0.0, 0.3, 0.5, 1.0, 2.0]),
}
FORMS = [
    pytest.param("compiled", "cpu", id="compiled"),
    *(pytest.param("fused", *d.values, marks=d.marks, id=d.id) for d in FUSED_DEVICES),
]


@pytest.fixture(params=SIZES.values(), ids=SIZES.keys())
def case(request: pytest.FixtureRequest) -> tuple[HexPlane, Tensor]:
    """Planes of random numbers, and times."""
    config, times = request.param
    planes, generator = HexPlane(config, BOX, 5), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for plane in planes.parameters():
            plane.copy_(torch.randn(plane.shape, generator=generator))
    return planes, torch.tensor(times)


def points(count: int) -> Tensor:
    return BOX[0] + torch.rand(count, 3, generator=torch.Generator().manual_seed(2)) * (BOX[1] - BOX[0])


def read(planes: HexPlane, where: Tensor, times: Tensor, form: str = "tensor") -> list[Tensor]:
    """Features, and gradients of points and planes, each feature pulled differently."""
    planes.zero_grad()
    where = where.clone().requires_grad_()
    with fused_parts("hexplane") if form == "fused" else nullcontext():
        features = planes(where, times)
        expected = {"tensor": "Transpose", "compiled": "_ReadProducts", "fused": "_ReadProducts"}[form]
        assert expected in str(features.grad_fn)
        grads = torch.randn(features.shape, generator=torch.Generator().manual_seed(3)).to(features)
        features.backward(grads)
    return [features.detach(), where.grad, *(plane.grad.clone() for plane in planes.parameters())]


@pytest.mark.parametrize(("form", "device"), FORMS)
def test_values_and_gradients_are_those_of_the_tensor_form(
    case: tuple[HexPlane, Tensor], form: str, device: str
) -> None:
    planes, times = case
    where = torch.cat((points(300), ON_THE_BORDER, OUTSIDE))
    expected = read(deepcopy(planes).double(), where.double(), times.double())
    found = read(planes.to(device), where.to(device), times.to(device), form)
    for value, wide in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), wide.float(), rtol=1e-5, atol=1e-5 * wide.abs().max().item())


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_any_layout_in_memory_gives_the_same(case: tuple[HexPlane, Tensor], device: str) -> None:
    planes, times = case[0].to(device), case[1].to(device)
    expected = read(planes, points(50).to(device), times, "fused")
    for plane in planes.parameters():
        plane.data = plane.data.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(read(planes, points(50).to(device), times, "fused"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("form", "device"), FORMS)
def test_no_points_have_no_features_and_pull_at_nothing(case: tuple[HexPlane, Tensor], form: str, device: str) -> None:
    planes, times = case[0].to(device), case[1].to(device)
    features, *gradients = read(planes, torch.zeros(0, 3, device=device), times, form)
    assert features.shape == (len(times), 0, planes.num_features)
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(("form", "device"), FORMS)
def test_a_point_that_is_no_number_has_no_features_and_leaves_others_alone(
    case: tuple[HexPlane, Tensor], form: str, device: str
) -> None:
    planes, times = case[0].to(device), case[1].to(device)
    where = torch.cat((points(50), ON_THE_BORDER)).to(device)
    lost = torch.tensor([[torch.nan, 0.1, 0.2], [0.3, torch.nan, 9.0], [torch.nan, torch.nan, torch.nan]])
    features, by_points, *_ = read(planes, torch.cat((where, lost.to(device))), times, form)
    assert features[:, -3:].isnan().all()
    torch.testing.assert_close(features[:, :-3], read(planes, where, times, form)[0])
    assert by_points[:-3].isfinite().all()


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_times_learn_where_they_are_to(device: str) -> None:
    planes = HexPlane(SIZES["as in a fit"][0], BOX, 5).to(device)
    with torch.no_grad():
        for plane in planes.temporal_planes():
            plane.uniform_(generator=torch.Generator(device).manual_seed(1))
    found = []
    for form in ((), ("hexplane",)):
        times = torch.tensor([0.2, 0.6], device=device, requires_grad=True)
        with fused_parts(*form):
            planes(points(20).to(device), times).square().sum().backward()
        found.append(times.grad)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
