"""The plan, with stand-ins for the fits."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.ablation import Case, FitDone, FitFailed, Planned, ablate
from ds4d.ablation.cases import Score
from ds4d.ablation.results import read_results
from ds4d.config import GenerateConfig
from ds4d.presets import tiny

CPU = torch.device("cpu")
Plan = Callable[..., list]

# Found by name in every process of a run with several jobs.
STAND_IN = '''
import os

from ds4d.ablation.cases import Score


def stand_in(case, config, device):
    """Figures that only depend on what is asked for; one of the fits fails, one takes its process with it."""
    if config.init.method == "random" and config.seed == 1:
        if case.name == "frog":
            raise RuntimeError("no frogs today")
        os._exit(3)
    return Score({"psnr": 20.0 + config.seed + len(case.name)}, 1.0, 7)
'''


def metrics(case: Case, config: GenerateConfig, device: torch.device) -> Score:
    """A quick stand-in for a fit."""
    assert device == CPU
    value = 20.0 + config.seed + len(case.name) + 5 * (config.init.method == "hull")
    return Score({"psnr": value, "psnr_dynamic": math.nan, "input_psnr": 30.0}, 1.0, 7)


def frogs_fail(case: Case, config: GenerateConfig, device: torch.device) -> Score:
    if case.name == "frog" and config.seed == 1:
        raise RuntimeError("no frogs\ntoday")
    return metrics(case, config, device)


def never(case: Case, config: GenerateConfig, device: torch.device) -> Score:
    raise AssertionError("asked to fit what is there already")


def values(folder: Path) -> dict[str, float]:
    return {result.name: result.metrics["psnr"] for result in read_results(folder)}


def test_every_cell_is_fitted_and_a_part_of_the_plan_is_a_table(tmp_path: Path, make_plan: Plan) -> None:
    fits = make_plan()
    assert [fit.name for fit in fits[:5]] == [
        "fox-A-seed0",
        "fox-B-seed0",
        "frog-A-seed0",
        "frog-B-seed0",
        "fox-A-seed1",
    ]
    planned, *events = list(ablate(fits, tmp_path, metrics, device=CPU))
    assert planned == Planned(8, 0)
    assert [event.number for event in events] == list(range(1, 9)) and all(event.total == 8 for event in events)
    assert [event.result.name for event in events] == [fit.name for fit in fits]
    assert events[-1].seconds_left == 0 <= events[0].seconds_left
    assert values(tmp_path) == {
        fit.name: 20.0 + fit.config.seed + len(fit.case.name) + 5 * (fit.row == "B") for fit in fits
    }
    first = read_results(tmp_path)[0]
    assert first.device.startswith("cpu, ") and first.side_by_side == 1 and first.num_gaussians == 7
    assert all(value > 1e7 for value in first.peak_memory_bytes.values())


def test_what_is_there_is_not_fitted_again(tmp_path: Path, make_plan: Plan) -> None:
    events: Iterator = ablate(make_plan(), tmp_path, metrics, device=CPU)
    for event in events:
        if isinstance(event, FitDone) and event.number == 3:
            break  # interrupted
    assert len(values(tmp_path)) == 3
    planned, *rest = list(ablate(make_plan(), tmp_path, metrics, device=CPU))
    assert planned == Planned(8, 3) and [event.number for event in rest] == [4, 5, 6, 7, 8]
    assert list(ablate(make_plan(), tmp_path, never, device=CPU)) == [Planned(8, 8)]
    (more,) = {event.result.seed for event in list(ablate(make_plan(seeds=3), tmp_path, metrics, device=CPU))[1:]}
    assert more == 2


def test_a_changed_preset_is_refused_before_anything_is_fitted(tmp_path: Path, make_plan: Plan) -> None:
    list(ablate(make_plan(seeds=1), tmp_path, metrics, device=CPU))
    changed = replace(tiny(), fit=replace(tiny().fit, static_steps=7))
    message = r"fox-A-seed0 must .*fox-A-seed0\.json, got another preset\.fit\.static_steps\. Name another folder"
    with pytest.raises(ValueError, match=message):
        list(ablate(make_plan(preset=changed), tmp_path, never, device=CPU))
    with pytest.raises(ValueError, match=r"got another preset\.fit\.static_steps"):  # the same for other cells
        list(ablate(make_plan(cases=("mage",), rows=("D",), preset=changed), tmp_path, never, device=CPU))
    assert len(values(tmp_path)) == 4


def test_a_failing_fit_is_recorded_and_tried_again(tmp_path: Path, make_plan: Plan) -> None:
    events = list(ablate(make_plan(), tmp_path, frogs_fail, device=CPU))
    failed = [event for event in events if isinstance(event, FitFailed)]
    assert [event.name for event in failed] == ["frog-A-seed1", "frog-B-seed1"]
    assert failed[0].error == "RuntimeError: no frogs today" and failed[0].number == 7
    assert len(values(tmp_path)) == 6
    failures = tmp_path / "failures"
    assert "in frogs_fail" in (failures / "frog-A-seed1.txt").read_text()
    assert [event.result.name for event in list(ablate(make_plan(), tmp_path, metrics, device=CPU))[1:]] == [
        "frog-A-seed1",
        "frog-B-seed1",
    ]
    assert list(failures.iterdir()) == []


def test_fits_side_by_side_find_the_same(tmp_path: Path, make_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of them fails and one takes its process with it."""
    (tmp_path / "fits_of_this_test.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    from fits_of_this_test import stand_in  # ty: ignore[unresolved-import]

    fits = make_plan()
    alone = [fit for fit in fits if fit.name != "fox-A-seed1"]  # it would end this process
    list(ablate(alone, tmp_path / "one", stand_in, device=CPU))
    planned, *events = list(ablate(fits, tmp_path / "two", stand_in, device=CPU, jobs=2))
    assert planned == Planned(8, 0) and [event.number for event in events] == list(range(1, 9))
    assert values(tmp_path / "two") == values(tmp_path / "one") and len(values(tmp_path / "one")) == 6
    errors = {event.name: event.error for event in events if isinstance(event, FitFailed)}
    assert errors["frog-A-seed1"] == "RuntimeError: no frogs today"
    assert "ended with status 3" in errors["fox-A-seed1"]
    assert {result.side_by_side for result in read_results(tmp_path / "two")} == {2}


def test_plans_and_jobs_must_be_at_least_one(tmp_path: Path, make_plan: Plan) -> None:
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        make_plan(seeds=0)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        list(ablate(make_plan(), tmp_path, never, device=CPU, jobs=0))
