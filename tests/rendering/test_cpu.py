"""The CPU renderer beyond the contract: bits, threads, memory layouts, and refused inputs."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from ds4d.geometry import orbit_cameras
from ds4d.rendering import CpuRenderer, ReferenceRenderer, SplatSettings
from ds4d.rendering.kernels.compositing import TILE_HEIGHT, TILE_WIDTH
from ds4d.types import Cameras, Gaussians


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def scene(times: int = 3, count: int = 400) -> tuple[dict[str, torch.Tensor], Cameras]:
    leaves = {
        "means": torch.rand(times, count, 3) - 0.5,
        "quats": torch.randn(times, count, 4),
        "scales": 0.02 + 0.03 * torch.rand(times, count, 3),
        "opacities": torch.rand(times, count),
        "sh": torch.randn(count, 4, 3),
    }
    azimuths = [40.0 * k for k in range(times)]
    cameras = orbit_cameras(azimuths, [10.0] * times, fovy_deg=33.9, distance=2.0, width=50, height=70)
    return leaves, cameras[:, None]


def outputs_and_gradients(leaves: dict[str, torch.Tensor], cameras: Cameras) -> list[torch.Tensor]:
    leaves = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
    backgrounds = torch.full((len(cameras.viewmats), 1, 3), 0.5, requires_grad=True)
    rendering = CpuRenderer().render(Gaussians(**leaves), cameras, backgrounds=backgrounds)
    (rendering.colors.square().sum() + rendering.alphas.sum() + rendering.depths.square().sum()).backward()
    gradients = [leaf.grad for leaf in (*leaves.values(), backgrounds)]
    return [rendering.colors, rendering.alphas, rendering.depths, *gradients]


def test_bits_do_not_depend_on_threads(threads: None) -> None:
    leaves, cameras = scene()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(outputs_and_gradients(leaves, cameras))
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))


def test_memory_layout_does_not_matter() -> None:
    leaves, cameras = scene()
    strided = {name: leaf.transpose(0, -1).contiguous().transpose(0, -1) for name, leaf in leaves.items()}
    assert not strided["means"].is_contiguous()
    static = cameras[:1].expand_times(3)
    copied = replace(static, viewmats=static.viewmats.contiguous(), Ks=static.Ks.contiguous())
    for got, want in zip(outputs_and_gradients(strided, static), outputs_and_gradients(leaves, copied), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5 * want.abs().max().item(), rtol=0)


def test_expanded_gaussians_share_their_gradient() -> None:
    leaves, cameras = scene()
    one = {name: leaf[0] if leaf.ndim > 1 and name != "sh" else leaf for name, leaf in leaves.items()}
    one = {name: leaf.clone().requires_grad_() for name, leaf in one.items()}
    static = {name: leaf if name == "sh" else leaf.expand(3, *leaf.shape) for name, leaf in one.items()}
    CpuRenderer().render(Gaussians(**static), cameras).colors.sum().backward()
    exact = {name: leaf.detach().double().requires_grad_() for name, leaf in one.items()}
    spread = {name: leaf if name == "sh" else leaf.expand(3, *leaf.shape) for name, leaf in exact.items()}
    ReferenceRenderer().render(Gaussians(**spread), cameras.to(torch.float64)).colors.sum().backward()
    for name, leaf in one.items():
        largest = exact[name].grad.abs().max()
        assert ((leaf.grad - exact[name].grad).abs() < 1e-3 * largest).float().mean() > 0.99, name


def test_one_gaussian_on_every_tile_boundary() -> None:
    """Small Gaussians at all offsets from the corner of a tile are neither lost nor counted twice."""
    steps = torch.arange(-4, 5) / 2
    x, y = torch.meshgrid(TILE_WIDTH + steps, TILE_HEIGHT + steps, indexing="ij")
    pixels = torch.stack((x, y), dim=-1).reshape(-1, 2)
    width, height = 2 * TILE_WIDTH, 2 * TILE_HEIGHT
    Ks = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
    camera = Cameras(torch.eye(4)[None], Ks, width, height)
    for mean in pixels:
        gaussians = Gaussians(
            means=torch.cat((mean, torch.ones(1)))[None],
            quats=torch.tensor([[1.0, 0, 0, 0]]),
            scales=torch.tensor([[1.5, 0.7, 1.0]]),
            opacities=torch.tensor([0.9]),
            sh=torch.zeros(1, 1, 3),
        )
        got, want = CpuRenderer().render(gaussians, camera), ReferenceRenderer().render(gaussians, camera)
        torch.testing.assert_close(got.alphas, want.alphas, atol=3e-5, rtol=0)


def test_a_needle_across_the_image_is_complete() -> None:
    """Its conic is nearly singular, so its tiles cannot be computed exactly; none may be missed."""
    camera = Cameras(torch.eye(4)[None], torch.tensor([[[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]]), 100, 100)
    quat = torch.tensor([[np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)]], dtype=torch.float32)  # 45 degrees
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0, 1]]),
        quats=quat,
        scales=torch.tensor([[30.0, 1e-4, 1e-4]]),
        opacities=torch.tensor([0.9]),
        sh=torch.zeros(1, 1, 3),
    )
    alphas = CpuRenderer(SplatSettings(eps2d=1.0)).render(gaussians, camera).alphas[0, 0]
    assert alphas.diagonal().min() > 0.5
    assert alphas.mean() < 0.1


def test_extreme_values_stay_finite_and_in_bounds() -> None:
    """No input may make a kernel write outside its arrays; images and gradients stay finite."""
    huge, inf = 3e38, float("inf")
    lengths = (0.0, 1e-38, 1e-3, 1.0, 1e10, 1e19, huge, inf)
    positions = (0.0, 1.99, -1e4, 1e19, huge, -huge, inf)
    rows = list(itertools.product(lengths, (1e-3, huge), positions, (1 / 255, 1.0), (0.0, 1.0)))
    scales = torch.tensor([(wide, thin, wide) for wide, thin, *_ in rows])
    leaves = {
        "means": torch.tensor([(position, 0.1, 0.1 * position) for _, _, position, _, _ in rows]),
        "quats": torch.tensor([(w, w, 0.3 * w, 0.0) for *_, w in rows]),
        "scales": scales,
        "opacities": torch.tensor([opacity for *_, opacity, _ in rows]),
        "sh": torch.zeros(len(rows), 1, 3),
    }
    leaves = {name: leaf.requires_grad_() for name, leaf in leaves.items()}
    cameras = orbit_cameras([0.0, 33.0], [0.0, 20.0], fovy_deg=60.0, distance=2.0, width=33, height=65)
    rendering = CpuRenderer().render(Gaussians(**leaves), cameras)
    rendering.colors.sum().backward()
    assert (rendering.info["radii"] > 0).any()
    assert rendering.colors.isfinite().all() and rendering.depths.isfinite().all()
    moderate = (scales < 1e3).all(-1) & (leaves["means"].detach().abs() < 1e3).all(-1)
    assert all(leaf.grad[moderate].isfinite().all() for leaf in leaves.values())


def test_gradients_of_several_views_add_up() -> None:
    leaves, cameras = scene(times=2)
    both = cameras[:, 0]
    total = {}
    for views in ([0, 1], [0], [1]):
        one = {name: (x[0] if name != "sh" else x).clone().requires_grad_() for name, x in leaves.items()}
        CpuRenderer().render(Gaussians(**one), both[views]).colors.sum().backward()
        total[len(views), views[0]] = one
    for name in leaves:
        apart = total[1, 0][name].grad + total[1, 1][name].grad
        torch.testing.assert_close(total[2, 0][name].grad, apart, atol=1e-4 * apart.abs().max().item(), rtol=0)


def test_other_dtypes_are_refused() -> None:
    leaves, cameras = scene()
    gaussians = Gaussians(**{name: leaf.double() for name, leaf in leaves.items()})
    with pytest.raises(ValueError, match=r"means .*float64"):
        CpuRenderer().render(gaussians, cameras)


def test_importing_the_package_does_not_import_numba() -> None:
    code = "import sys, ds4d.rendering; print('numba' in sys.modules, 'gsplat' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
