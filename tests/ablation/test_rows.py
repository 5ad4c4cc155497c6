"""The rows of the ablation as settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.ablation import ROWS, rows
from ds4d.config import GenerateConfig
from ds4d.core import first_difference, to_dict
from ds4d.presets import PRESETS

# What the paper's table says of each row: first Gaussians, rule of the fusion, decoupled or not; and whether the
# generated views are aligned, which is ours.
EXPECTED = {
    "A": ("random", None, None, False),
    "B": ("hull", None, None, False),
    "D": ("hull", "front", False, False),
    "E": ("hull", "front", True, False),
    "F": ("hull", "average", True, False),
    "G": ("hull", "global", True, False),
    "H": ("hull", "distance", True, False),
    "visible": ("hull", "visible", True, False),
    "aligned": ("hull", None, None, True),
    "ours": ("hull", "visible", True, True),
}


def strange(preset: GenerateConfig) -> GenerateConfig:
    """Settings that no row may keep."""
    return replace(
        preset,
        init=replace(preset.init, method="points", file=Path("cloud.ply")),
        decoupling=replace(preset.decoupling, enabled=False),
        fusion=None,
        training=replace(preset.training, view_correction=None),
    )


@pytest.mark.parametrize("preset", [*(make() for make in PRESETS.values()), strange(GenerateConfig())])
def test_rows_are_those_of_the_paper_whatever_the_preset(preset: GenerateConfig) -> None:
    made = rows(preset)
    assert list(made) == list(ROWS) == list(EXPECTED)
    for name, (method, rule, decoupled, aligned) in EXPECTED.items():
        config = made[name]
        assert (config.training.view_correction is not None) == aligned
        assert (config.init.method, config.init.file) == (method, None)
        assert (config.fusion.rule if config.fusion else None) == rule
        if decoupled is not None:
            assert config.decoupling.enabled == decoupled


def test_rows_differ_in_nothing_else() -> None:
    preset = PRESETS["cpu"]()
    for config in rows(preset).values():
        neutral = replace(
            config,
            init=replace(config.init, method=preset.init.method),
            decoupling=replace(config.decoupling, enabled=preset.decoupling.enabled),
            fusion=preset.fusion,
            training=replace(config.training, view_correction=preset.training.view_correction),
        )
        assert neutral == preset
        if config.fusion and preset.fusion:
            assert replace(config.fusion, rule=preset.fusion.rule) == preset.fusion


def test_no_two_rows_are_the_same() -> None:
    made = [to_dict(config) for config in rows(GenerateConfig()).values()]
    assert all(first_difference(one, other) for i, one in enumerate(made) for other in made[:i])


def test_rows_are_chosen_by_name_and_keep_their_order() -> None:
    assert list(rows(GenerateConfig(), ["ours", "A"])) == ["A", "ours"]
    with pytest.raises(ValueError, match=r"rows must be of A \(random first Gaussians.*\); B .*ours .*, got 'C'"):
        rows(GenerateConfig(), ["A", "C"])
