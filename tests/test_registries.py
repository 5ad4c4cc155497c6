"""The registries: every entry can be made, and settings and options offer exactly the entries."""

import json
import re
from typing import Any, get_args, get_type_hints

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import from_dict, to_dict
from ds4d.decoupling import REFERENCES, DecouplingConfig
from ds4d.evaluation import LAYOUTS, NETWORKS, PROTOCOL_METRICS, PROTOCOLS
from ds4d.evaluation.registry import STAND_INS
from ds4d.export import FORMATS
from ds4d.features import EXTRACTORS, FeaturesConfig
from ds4d.fusion import RULES, FusionConfig
from ds4d.geometry import RIGS, project_points, rig_cameras
from ds4d.losses import IMAGE_LOSSES, REGULARIZERS
from ds4d.multiview import GENERATORS, ViewsConfig
from ds4d.presets import PRESETS
from ds4d.rendering import RENDERERS, renderer_for
from ds4d.types import Renderer
from ds4d.weights import MODELS

REGISTRIES = {
    "rigs": RIGS,
    "image losses": IMAGE_LOSSES,
    "regularizers": REGULARIZERS,
    "presets": PRESETS,
    "renderers": RENDERERS,
    "extractors": EXTRACTORS,
    "references": REFERENCES,
    "rules": RULES,
    "generators": GENERATORS,
    "formats": FORMATS,
    "pretrained models": MODELS,
    "metrics": PROTOCOL_METRICS,
    "networks of metrics": NETWORKS,
    "protocols": PROTOCOLS,
    "layouts of the truth": LAYOUTS,
}


@pytest.mark.parametrize("name", REGISTRIES)
def test_registry_is_a_plain_dict(name: str) -> None:
    assert type(REGISTRIES[name]) is dict and REGISTRIES[name]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_.+-]*", key) for key in REGISTRIES[name])


CHOICES = [
    (EXTRACTORS, FeaturesConfig, "kind"),
    (REFERENCES, DecouplingConfig, "reference"),
    (RULES, FusionConfig, "rule"),
    (GENERATORS, ViewsConfig, "source"),
]


def test_metrics_are_in_protocols_and_their_networks_in_the_registries() -> None:
    used = {name for protocol in PROTOCOLS.values() for name in protocol.metrics}
    assert used == set(PROTOCOL_METRICS) - set(STAND_INS)
    assert {metric.network for metric in PROTOCOL_METRICS.values()} - {None} == set(NETWORKS)
    assert {model for network in NETWORKS.values() for model in network.models} <= set(MODELS)
    assert all(metric.oracle and metric.title for metric in PROTOCOL_METRICS.values())


@pytest.mark.parametrize(("registry", "config", "name"), CHOICES, ids=lambda value: value if str is type(value) else "")
def test_settings_allow_exactly_the_names_of_the_registry(registry: dict[str, Any], config: type, name: str) -> None:
    others = {ViewsConfig: {"auto", "folder"}, FeaturesConfig: {"auto"}}.get(config, set())
    assert set(get_args(get_type_hints(config)[name])) == set(registry) | others
    with pytest.raises(ValueError, match=name):
        from_dict(config, {name: "nothing"})


@pytest.mark.parametrize("name", sorted(set(RENDERERS) - {"gsplat"}))
def test_renderers_follow_the_protocol(name: str) -> None:
    assert isinstance(RENDERERS[name](), Renderer)


@pytest.mark.gpu
def test_gsplat_renderer_follows_the_protocol() -> None:
    assert isinstance(RENDERERS["gsplat"](), Renderer)


def test_renderer_of_the_cpu() -> None:
    assert isinstance(renderer_for("cpu"), RENDERERS["cpu"])
    assert isinstance(renderer_for(torch.device("cpu")), RENDERERS["cpu"])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip_through_json(name: str) -> None:
    preset = PRESETS[name]()
    assert from_dict(GenerateConfig, json.loads(json.dumps(to_dict(preset)))) == preset


def test_presets_differ() -> None:
    records = {json.dumps(to_dict(preset())) for preset in PRESETS.values()}
    assert len(records) == len(PRESETS)


def test_only_the_paper_preset_uses_pretrained_losses() -> None:
    found = {
        name for name, preset in PRESETS.items() if preset().guidance.weight or preset().training.losses.lpips.weight
    }
    assert found == {"paper"}


def test_loss_weights_of_the_paper_preset_have_the_ratios_of_stag4d() -> None:
    """STAG4D: 20000 MSE, 5000 mask, 1 SDS, and 5 and 0.05 for sums over the planes of four scales."""
    config = PRESETS["paper"]()
    losses, planes = config.training.losses, 3 * len(config.field.hexplane.multipliers)
    found = [losses.mse.weight, losses.mask.weight, config.guidance.weight, losses.time_smoothness / planes]
    assert [weight / losses.mse.weight * 20_000 for weight in found] == pytest.approx([20_000, 5_000, 1, 5])
    assert losses.plane_smoothness == losses.time_l1 == pytest.approx(losses.time_smoothness / 100)
    assert losses.mse.views == "input" and losses.lpips.views == "generated"


@pytest.mark.parametrize("name", RIGS)
def test_every_view_of_a_rig_shows_the_whole_object(name: str) -> None:
    """The object is inside a sphere of radius 0.5 around the point that the cameras look at."""
    cameras = rig_cameras(RIGS[name], 64, 64)
    directions = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    pixels, depths = project_points(0.5 * torch.nn.functional.normalize(directions, dim=-1), cameras)
    assert (depths > 0).all()
    assert pixels.min() > 0 and pixels.max() < 64
