"""The CUDA renderer without CUDA, with a stand-in for gsplat."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ds4d.geometry import orbit_cameras
from ds4d.rendering import GsplatRenderer, renderer_for
from ds4d.types import Cameras, Gaussians


def install(monkeypatch: pytest.MonkeyPatch, rasterization: Callable[..., Any]) -> None:
    stand_in = types.ModuleType("gsplat")
    stand_in.rasterization = rasterization
    monkeypatch.setitem(sys.modules, "gsplat", stand_in)


def scene(bases: int = 1, count: int = 5) -> tuple[Gaussians, Cameras]:
    gaussians = Gaussians(
        means=torch.zeros(count, 3),
        quats=torch.ones(count, 4),
        scales=torch.ones(count, 3),
        opacities=torch.ones(count),
        sh=torch.zeros(count, bases, 3),
    )
    return gaussians, orbit_cameras([0.0, 90.0], [0.0, 0.0], fovy_deg=30.0, distance=2.0, width=7, height=6)


def test_missing_gsplat_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)  # as if it were not installed
    with pytest.raises(ImportError, match="cuda"):
        renderer_for("cuda")


def test_tensors_on_the_cpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda *args, **kwargs: None)
    with pytest.raises(ValueError, match=r"means .*CUDA"):
        GsplatRenderer().render(*scene())


@pytest.mark.parametrize(("bases", "degree", "shape"), [(1, None, [5, 3]), (9, 2, [5, 9, 3])])
def test_images_are_converted_to_channels_first(
    monkeypatch: pytest.MonkeyPatch, bases: int, degree: int | None, shape: list[int]
) -> None:
    images, alphas = torch.rand(2, 6, 7, 4), torch.rand(2, 6, 7, 1)
    meta = {"means2d": torch.zeros(2, 5, 2), "radii": torch.zeros(2, 5, 2), "depths": torch.zeros(2, 5), "other": 0}
    calls = []

    def rasterization(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        calls.append((args, kwargs))
        return images, alphas, meta

    install(monkeypatch, rasterization)
    monkeypatch.setattr("ds4d.rendering.gsplat_backend._check_kind", lambda gaussians, cameras: None)
    rendering = GsplatRenderer().render(*scene(bases))
    assert torch.equal(rendering.colors[1, 2], images[1, ..., 2])
    assert torch.equal(rendering.depths[1, 0], images[1, ..., 3])
    assert torch.equal(rendering.alphas[1, 0], alphas[1, ..., 0])
    assert set(rendering.info) == {"means2d", "radii", "depths"}
    args, kwargs = calls[0]
    assert list(args[4].shape) == shape  # final colors, or SH coefficients
    assert (args[7], args[8]) == (7, 6)  # width, height
    assert kwargs["sh_degree"] == degree
    assert kwargs["render_mode"] == "RGB+ED" and not kwargs["packed"]


def test_no_gaussians_give_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda *args, **kwargs: pytest.fail("gsplat cannot take zero Gaussians"))
    monkeypatch.setattr("ds4d.rendering.gsplat_backend._check_kind", lambda gaussians, cameras: None)
    gaussians, cameras = scene(count=0)
    backgrounds = torch.rand(2, 3)
    rendering = GsplatRenderer().render(gaussians, cameras, backgrounds=backgrounds)
    assert torch.equal(rendering.colors, backgrounds[..., None, None].expand(2, 3, 6, 7))
    assert rendering.alphas.abs().max() == 0 and rendering.depths.shape == (2, 1, 6, 7)
    assert rendering.info["radii"].shape == (2, 0, 2)
