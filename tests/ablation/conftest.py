"""Plans and results without fits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.ablation import AblationScene, plan
from ds4d.ablation.results import Result, write_result
from ds4d.ablation.runner import Fit
from ds4d.config import GenerateConfig
from ds4d.presets import tiny


@pytest.fixture
def make_plan() -> Callable[..., list[Fit]]:
    """Two scenes that are never read, variants A and B, seeds 0 and 1."""

    def make(
        *,
        scenes: tuple[str, ...] = ("fox", "frog"),
        variants: tuple[str, ...] = ("A", "B"),
        seeds: int = 2,
        preset: GenerateConfig | None = None,
    ) -> list[Fit]:
        found = [AblationScene(name, Path("data") / name, "held-out views") for name in scenes]
        return plan(found, preset or tiny(), variants, seeds)

    return make


@pytest.fixture
def write() -> Callable[..., Path]:
    """Writes the result of one fit with given metrics."""

    def write(folder: Path, fit: Fit, seconds: float = 2.0, **metrics: float) -> Path:
        scene = fit.scene
        name, seed, memory = scene.name, fit.config.seed, {"main": 10**9}
        result = Result(name, scene.scored_on, fit.variant, seed, fit.settings, metrics, seconds, 100, memory)
        return write_result(folder, result)

    return write
