"""What is found by name: every entry can be made, fits its protocol, and is offered where users choose."""

import json
import re
from typing import Any, get_args, get_type_hints

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import from_dict, to_dict
from ds4d.decoupling import REFERENCES, DecouplingConfig
from ds4d.features import EXTRACTORS, FeaturesConfig
from ds4d.fusion import RULES, FusionConfig
from ds4d.geometry import RIGS, project_points, rig_cameras
from ds4d.losses import IMAGE_LOSSES, REGULARIZERS
from ds4d.multiview import GENERATORS
from ds4d.presets import PRESETS
from ds4d.rendering import RENDERERS, renderer_for
from ds4d.types import Renderer
from ds4d.weights import MODELS


@pytest.mark.parametrize(
    "registry",
    [RIGS, IMAGE_LOSSES, REGULARIZERS, PRESETS, RENDERERS, EXTRACTORS, REFERENCES, RULES, GENERATORS, MODELS],
    ids=[
        "rigs",
        "losses",
        "regularizers",
        "presets",
        "renderers",
        "extractors",
        "references",
        "rules",
        "generators",
        "pretrained models",
    ],
)
def test_a_registry_is_a_plain_dict_of_names(registry: dict[str, Any]) -> None:
    assert type(registry) is dict and registry
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_.+-]*", name) for name in registry)


@pytest.mark.parametrize("name", sorted(set(RENDERERS) - {"gsplat"}))
def test_renderers_fit_the_protocol(name: str) -> None:
    assert isinstance(RENDERERS[name](), Renderer)


@pytest.mark.gpu
def test_the_gsplat_renderer_fits_the_protocol() -> None:
    assert isinstance(RENDERERS["gsplat"](), Renderer)


def test_the_cpu_is_drawn_on_by_its_own_back_end() -> None:
    assert isinstance(renderer_for("cpu"), RENDERERS["cpu"])
    assert isinstance(renderer_for(torch.device("cpu")), RENDERERS["cpu"])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_their_record(name: str) -> None:
    preset = PRESETS[name]()
    assert from_dict(GenerateConfig, json.loads(json.dumps(to_dict(preset)))) == preset


def test_presets_differ() -> None:
    records = {json.dumps(to_dict(preset())) for preset in PRESETS.values()}
    assert len(records) == len(PRESETS)


def test_the_papers_preset_alone_asks_for_pretrained_losses() -> None:
    asking = {
        name for name, preset in PRESETS.items() if preset().guidance.weight or preset().training.losses.lpips.weight
    }
    assert asking == {"paper"}


def test_the_papers_losses_stand_to_one_another_as_stag4ds() -> None:
    """There: 20000 MSE, 5000 for the coverage, 1 SDS, and 5 and 0.05 for sums over the planes of four scales."""
    config = PRESETS["paper"]()
    losses, planes = config.training.losses, 3 * len(config.field.hexplane.multipliers)
    found = [losses.mse.weight, losses.mask.weight, config.guidance.weight, losses.time_smoothness / planes]
    assert [weight / losses.mse.weight * 20_000 for weight in found] == pytest.approx([20_000, 5_000, 1, 5])
    assert losses.plane_smoothness == losses.time_l1 == pytest.approx(losses.time_smoothness / 100)
    assert losses.mse.views == "input" and losses.lpips.views == "generated"


@pytest.mark.parametrize("name", RIGS)
def test_every_view_of_a_rig_sees_the_whole_object(name: str) -> None:
    """The object lies in a ball of radius 0.5 round what the cameras look at."""
    cameras = rig_cameras(RIGS[name], 64, 64)
    directions = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    pixels, depths = project_points(0.5 * torch.nn.functional.normalize(directions, dim=-1), cameras)
    assert (depths > 0).all()
    assert pixels.min() > 0 and pixels.max() < 64


@pytest.mark.parametrize(
    ("registry", "config", "name"),
    [
        (EXTRACTORS, FeaturesConfig, "kind"),
        (REFERENCES, DecouplingConfig, "reference"),
        (RULES, FusionConfig, "rule"),
    ],
)
def test_settings_offer_what_the_registry_holds(registry: dict[str, Any], config: type, name: str) -> None:
    assert set(get_args(get_type_hints(config)[name])) == set(registry)
