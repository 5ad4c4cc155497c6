"""The fused rule `visible` against the tensor form in double precision."""

from copy import deepcopy

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.core import fused_parts
from ds4d.fusion import FusionConfig, Tssf
from ds4d.geometry import orbit_cameras
from ds4d.types import Cameras

T, V, D, N = 2, 3, 5, 70


def made(channels: int) -> Tssf:
    torch.manual_seed(3)
    tssf = Tssf(FusionConfig(channels=channels, tolerance=0.2), D)
    with torch.no_grad():
        tssf.rule.input_bonus.fill_(0.4)
    return tssf


def cameras() -> Cameras:
    views = orbit_cameras([0.0, 100.0, 220.0], [0.0, 20.0, -15.0], fovy_deg=40.0, distance=2.0, width=40, height=32)
    views.Ks[1, 0, 1] = 0.7  # pixels that are not quite square to each other
    return views


def observation(generator: torch.Generator, *, warped: bool, missing: bool) -> dict[str, Tensor | None]:
    """Depths with holes, and warps and missing views where they are asked for."""
    depths = 1.6 + 0.8 * torch.rand(T, V, 1, 7, 9, generator=generator)
    depths[torch.rand(depths.shape, generator=generator) < 0.2] = 0
    valid = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.4]]) if missing else None
    warps = 0.1 * torch.randn(T, V, 2, 4, 4, generator=generator) if warped else None
    return {"valid": valid, "depths": depths.half().float(), "warps": warps}


def where(generator: torch.Generator) -> Tensor:
    """Points around the object, beyond the images, and behind cameras."""
    points = torch.rand(T, N, 3, generator=generator) - 0.5
    points[:, :5] *= 40
    return points


def outcome(tssf: Tssf, maps: Tensor, points: Tensor, views: Cameras, seen: dict[str, Tensor | None]) -> list[Tensor]:
    """Fused features, and gradients of the parameters, each feature pulled differently."""
    tssf.zero_grad()
    fused = tssf(maps, points, views, **seen)
    grads = torch.randn(fused.shape, generator=torch.Generator().manual_seed(5)).to(fused)
    fused.backward(grads)
    return [fused.detach(), *(parameter.grad.clone() for parameter in tssf.parameters())]


def widened(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.double()


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize("channels", [1, 6, 16])
@pytest.mark.parametrize(("warped", "missing"), [(False, False), (True, True)])
def test_values_and_gradients_are_those_of_the_tensor_form(
    channels: int, warped: bool, missing: bool, device: str, generator: torch.Generator
) -> None:
    tssf, views, points = made(channels), cameras(), where(generator)
    maps, seen = torch.randn(T, V, D, 6, 8, generator=generator), observation(generator, warped=warped, missing=missing)
    wide = Cameras(views.viewmats.double(), views.Ks.double(), views.width, views.height)
    wide_seen = {name: widened(value) for name, value in seen.items()}
    expected = outcome(deepcopy(tssf).double(), maps.double(), points.double(), wide, wide_seen)
    moved = {name: None if value is None else value.to(device) for name, value in seen.items()}
    assert moved["depths"] is not None
    moved["depths"] = moved["depths"].half()
    with fused_parts("fusion"):
        found = outcome(tssf.to(device), maps.to(device), points.to(device), views.to(device), moved)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), other.float(), rtol=2e-4, atol=2e-5 * other.abs().max().item())


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_the_kernel_runs_and_takes_points_and_maps_without_a_time_axis(
    device: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tssf, views = made(4).to(device), cameras().to(device)
    points, maps = where(generator)[0].to(device), torch.randn(V, D, 6, 8, generator=generator).to(device)
    depths = torch.full((V, 1, 8, 8), 2.0, device=device)
    expected = outcome(tssf, maps, points, views, {"depths": depths})
    monkeypatch.setattr("ds4d.fusion.tssf.locate", None)  # of the tensor form
    with fused_parts("fusion"):
        found = outcome(tssf, maps, points, views, {"depths": depths})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_what_no_view_sees_has_no_features(device: str) -> None:
    tssf, views = made(4).to(device), cameras().to(device)
    maps = torch.randn(T, V, D, 6, 8).to(device)
    points = torch.full((T, 2, 3), torch.nan, device=device)
    points[:, 1] = 50.0
    depths = torch.full((T, V, 1, 8, 8), 2.0, device=device)
    with fused_parts("fusion"):
        fused, *gradients = outcome(tssf, maps, points, views, {"depths": depths})
    assert not fused.any()
    assert not any(gradient.any() for gradient in gradients)
