"""The variants of the ablation as settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.ablation import VARIANTS, variant_configs
from ds4d.config import GenerateConfig
from ds4d.core import first_difference, to_dict
from ds4d.presets import PRESETS

# Initialization, fusion rule and decoupling of each variant as in the paper's table; and whether generated views are
# corrected, which the paper does not do.
EXPECTED = {
    "A": ("random", None, None, False),
    "B": ("hull", None, None, False),
    "D": ("hull", "input", False, False),
    "E": ("hull", "input", True, False),
    "F": ("hull", "average", True, False),
    "G": ("hull", "global", True, False),
    "H": ("hull", "distance", True, False),
    "visible": ("hull", "visible", True, False),
    "view-correction": ("hull", None, None, True),
    "ours": ("hull", "visible", True, True),
}


def unusual(preset: GenerateConfig) -> GenerateConfig:
    """Settings that no variant may keep."""
    return replace(
        preset,
        init=replace(preset.init, method="points", file=Path("cloud.ply")),
        decoupling=replace(preset.decoupling, enabled=False),
        fusion=None,
        training=replace(preset.training, view_correction=None),
    )


@pytest.mark.parametrize("preset", [*(make() for make in PRESETS.values()), unusual(GenerateConfig())])
def test_variants_are_those_of_the_paper_for_every_preset(preset: GenerateConfig) -> None:
    made = variant_configs(preset)
    assert list(made) == list(VARIANTS) == list(EXPECTED)
    for name, (method, rule, decoupled, corrected) in EXPECTED.items():
        config = made[name]
        assert (config.training.view_correction is not None) == corrected
        assert (config.init.method, config.init.file) == (method, None)
        assert (config.fusion.rule if config.fusion else None) == rule
        if decoupled is not None:
            assert config.decoupling.enabled == decoupled


def test_variants_differ_in_nothing_else() -> None:
    preset = PRESETS["cpu"]()
    for config in variant_configs(preset).values():
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


def test_no_two_variants_are_the_same() -> None:
    made = [to_dict(config) for config in variant_configs(GenerateConfig()).values()]
    assert all(first_difference(one, other) for i, one in enumerate(made) for other in made[:i])


def test_variants_are_chosen_by_name_and_keep_their_order() -> None:
    assert list(variant_configs(GenerateConfig(), ["ours", "A"])) == ["A", "ours"]
    with pytest.raises(ValueError, match=r"--variants .*A, B, .*ours.*'C'"):
        variant_configs(GenerateConfig(), ["A", "C"])
