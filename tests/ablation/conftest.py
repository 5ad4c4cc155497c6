"""Plans and results that need no fit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.ablation import Case, plan
from ds4d.ablation.results import Result, write_result
from ds4d.ablation.runner import Fit
from ds4d.config import GenerateConfig
from ds4d.presets import tiny


@pytest.fixture
def make_plan() -> Callable[..., list[Fit]]:
    """Two clips that nothing reads, rows A and B, seeds 0 and 1."""

    def make(
        *,
        cases: tuple[str, ...] = ("fox", "frog"),
        rows: tuple[str, ...] = ("A", "B"),
        seeds: int = 2,
        preset: GenerateConfig | None = None,
    ) -> list[Fit]:
        clips = [Case(name, Path("data") / name, "unseen views") for name in cases]
        return plan(clips, preset or tiny(), rows, seeds)

    return make


@pytest.fixture
def write() -> Callable[..., Path]:
    """Writes the result of one fit with the figures given."""

    def write(folder: Path, fit: Fit, seconds: float = 2.0, **metrics: float) -> Path:
        case = fit.case
        result = Result(
            case.name, case.scored_on, fit.row, fit.config.seed, fit.settings, metrics, seconds, 100, {"main": 10**9}
        )
        return write_result(folder, result)

    return write
