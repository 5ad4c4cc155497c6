"""The list of view generators, and what follows from it."""

import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from ds4d.core import from_dict, to_dict
from ds4d.multiview import GENERATORS, GeneratorSettings, ViewsConfig, ViewsSource, choose_generator, make_generator
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.multiview.lift import LiftConfig
from ds4d.multiview.zero123plus import Zero123Plus, Zero123PlusConfig

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def with_weights(tiny_zero123plus: Path) -> ViewsConfig:
    return ViewsConfig(generators=GeneratorSettings(zero123plus=Zero123PlusConfig(folder=tiny_zero123plus)))


def test_sources_and_settings_follow_from_the_list() -> None:
    assert get_args(ViewsSource) == ("auto", *GENERATORS, "folder")
    assert [field.name for field in fields(GeneratorSettings)] == list(GENERATORS)
    settings = GeneratorSettings()
    assert all(getattr(settings, name) == made.Config() for name, made in GENERATORS.items())
    assert all(f"{name}:" in (GeneratorSettings.__doc__ or "") for name in GENERATORS)


def test_settings_survive_their_record_and_another_process() -> None:
    config = ViewsConfig(source="inflate", generators=GeneratorSettings(inflate=InflateConfig(facing=45.0)))
    assert from_dict(ViewsConfig, to_dict(config)) == config
    assert copy.copy(config.generators) == config.generators


def test_automatic_choice_takes_zero123plus_with_weights_on_a_gpu(
    with_weights: ViewsConfig, tiny_zero123plus: Path
) -> None:
    name, why = choose_generator(with_weights, GPU)
    assert name == "zero123plus" and str(tiny_zero123plus) in why


def test_automatic_choice_takes_lift_otherwise(with_weights: ViewsConfig) -> None:
    for device in (CPU, GPU):
        name, why = choose_generator(ViewsConfig(), device)
        assert name == "lift" and "ds4d weights" in why
    name, why = choose_generator(with_weights, CPU)
    assert name == "lift" and "--views zero123plus" in why


def test_automatic_choice_takes_inflate_without_any_network(tmp_path: Path) -> None:
    settings = GeneratorSettings(lift=LiftConfig(network=tmp_path / "none.safetensors"))
    assert choose_generator(ViewsConfig(generators=settings), CPU)[0] == "inflate"


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_requested_generator_is_taken(with_weights: ViewsConfig, name: str, device: torch.device) -> None:
    assert choose_generator(replace(with_weights, source=name), device) == (name, "as requested")


def test_a_generator_gets_its_own_settings() -> None:
    config = ViewsConfig(generators=GeneratorSettings(inflate=InflateConfig(thickness=0.5)))
    generator = make_generator("inflate", config, CPU)
    assert isinstance(generator, Inflate) and generator.config.thickness == 0.5


def test_a_generator_that_uses_a_matting_model_gets_it(with_weights: ViewsConfig, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"network")
    generator = make_generator("zero123plus", with_weights, CPU, matting_model=tmp_path / "net.onnx")
    assert isinstance(generator, Zero123Plus) and generator.matting_model == tmp_path / "net.onnx"
    assert isinstance(make_generator("inflate", with_weights, CPU, matting_model=tmp_path / "net.onnx"), Inflate)
