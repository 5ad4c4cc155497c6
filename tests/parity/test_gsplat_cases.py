"""Our renderers against gsplat's own output, stored by make_gsplat_cases.py on a GPU.

gsplat works in float32 with CUDA's fast approximations, so a few pixels are on the other side of the alpha
threshold of 1/255 and differ by that much; everything else agrees to a few 1e-4 of the largest value.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ds4d.rendering import RENDERERS
from ds4d.types import Cameras, Gaussians

FILE = Path(__file__).with_name("gsplat_cases.safetensors")
LEARNED = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    if not FILE.is_file():
        pytest.skip(f"{FILE.name} is missing: run make_gsplat_cases.py on a machine with CUDA")
    return load_file(FILE)


def fraction_off(got: Tensor, want: Tensor, tolerance: float) -> float:
    """Fraction of entries further from `want` than `tolerance` times its largest."""
    return ((got - want).abs() > tolerance * want.abs().max()).float().mean().item()


@pytest.mark.parametrize("case", ["plain", "moving", "degree_3", "difficult"])
@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_equals_gsplat(stored: dict[str, Tensor], name: str, case: str) -> None:
    values = {key.removeprefix(f"{case}."): x.clone() for key, x in stored.items() if key.startswith(f"{case}.")}
    leaves = {key: values[key].requires_grad_() for key in LEARNED}
    backgrounds = values["backgrounds"].requires_grad_() if "backgrounds" in values else None
    height, width = values["rendered"].shape[-3:-1]
    cameras = Cameras(values["viewmats"], values["Ks"], width, height)
    rendering = RENDERERS[name]().render(Gaussians(**leaves), cameras, backgrounds=backgrounds)
    rendered = torch.cat((rendering.colors, rendering.depths, rendering.alphas), dim=-3).movedim(-3, -1)
    rendered.backward(values["upstream"].float())

    for channels in (slice(0, 3), slice(3, 4), slice(4, 5)):  # color, expected depth, alpha
        assert fraction_off(rendered[..., channels].detach(), values["rendered"][..., channels], 3e-4) <= 5e-3
    assert fraction_off(rendering.info["radii"].float(), values["radii"].float(), 0) <= 0.01
    grads = {key: leaf.grad for key, leaf in leaves.items()} | {"means2d": rendering.info["means2d"].grad}
    if backgrounds is not None:
        grads["backgrounds"] = backgrounds.grad
    for key, grad in grads.items():
        assert fraction_off(grad, values[f"grad.{key}"], 3e-3) <= 0.02, key
