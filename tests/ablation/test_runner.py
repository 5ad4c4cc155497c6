"""The plan and its execution, with stand-ins for the fits."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.ablation import AblationScene, FitDone, FitFailed, Planned, ablate
from ds4d.ablation.results import read_results
from ds4d.ablation.scenes import Score
from ds4d.config import GenerateConfig
from ds4d.presets import tiny

CPU = torch.device("cpu")
Plan = Callable[..., list]

# Imported by every process of a run with several jobs.
STAND_IN = '''
import os

from ds4d.ablation.scenes import Score


def stand_in(scene, config, device):
    """Scores that depend on the arguments only; one of the fits fails, one ends its process."""
    if config.init.method == "random" and config.seed == 1:
        if scene.name == "frog":
            raise RuntimeError("no frogs today")
        os._exit(3)
    return Score({"psnr": 20.0 + config.seed + len(scene.name)}, 1.0, 7)
'''


def metrics(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
    """A quick stand-in for a fit."""
    assert device == CPU
    value = 20.0 + config.seed + len(scene.name) + 5 * (config.init.method == "hull")
    return Score({"psnr": value, "psnr_dynamic": math.nan, "input_psnr": 30.0}, 1.0, 7)


def frogs_fail(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
    if scene.name == "frog" and config.seed == 1:
        raise RuntimeError("no frogs\ntoday")
    return metrics(scene, config, device)


def never(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
    raise AssertionError("a finished fit is repeated")


def values(folder: Path) -> dict[str, float]:
    return {result.name: result.metrics["psnr"] for result in read_results(folder)}


def test_every_entry_is_fitted_in_the_order_of_the_plan(tmp_path: Path, make_plan: Plan) -> None:
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
        fit.name: 20.0 + fit.config.seed + len(fit.scene.name) + 5 * (fit.variant == "B") for fit in fits
    }
    first = read_results(tmp_path)[0]
    assert first.device.startswith("cpu, ") and first.side_by_side == 1 and first.num_gaussians == 7
    assert all(value > 1e7 for value in first.peak_memory_bytes.values())


def test_finished_fits_are_not_repeated(tmp_path: Path, make_plan: Plan) -> None:
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


def test_a_changed_preset_is_refused_before_fitting(tmp_path: Path, make_plan: Plan) -> None:
    list(ablate(make_plan(seeds=1), tmp_path, metrics, device=CPU))
    changed = replace(tiny(), training=replace(tiny().training, static_steps=7))
    message = r"fox-A-seed0 .*fox-A-seed0\.json, got another preset\.training\.static_steps"
    with pytest.raises(ValueError, match=message):
        list(ablate(make_plan(preset=changed), tmp_path, never, device=CPU))
    with pytest.raises(ValueError, match=r"preset\.training\.static_steps"):  # also for other entries
        list(ablate(make_plan(scenes=("mage",), variants=("D",), preset=changed), tmp_path, never, device=CPU))
    assert len(values(tmp_path)) == 4


def test_a_failed_fit_is_recorded_and_tried_again(tmp_path: Path, make_plan: Plan) -> None:
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


def test_parallel_fits_give_the_same_results(tmp_path: Path, make_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if one of them fails and one ends its process."""
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


# Two fits that take for ever, each in a process that says which one it is.
ENDLESS = """
import os, sys, time
from pathlib import Path

import torch

from ds4d.ablation import AblationScene, ablate, plan
from ds4d.presets import tiny


def endless(scene, config, device):
    Path(scene.data, f"{os.getpid()}.pid").touch()
    time.sleep(600)


if __name__ == "__main__":
    scene = AblationScene("fox", Path(sys.argv[1]), "held-out views")
    list(ablate(plan([scene], tiny(), ("A", "B"), 1), Path(sys.argv[2]), endless, device=torch.device("cpu"), jobs=2))
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc to see which processes live")
def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """Even if it is killed, in the middle of their fits."""
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "endless.py").write_text(ENDLESS)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "endless.py"), str(data), str(tmp_path / "out")])
    try:
        wait_for(lambda: len(list(data.glob("*.pid"))) == 2)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(is_running(int(path.stem)) for path in data.glob("*.pid")))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process lives; one that has ended may wait for its new parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("name", ["results", "failures"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_fitting(
    tmp_path: Path, make_plan: Plan, name: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=name):
        list(ablate(make_plan(), tmp_path, never, device=CPU))
    (tmp_path / name).unlink()
    assert next(iter(ablate(make_plan(), tmp_path, never, device=CPU))) == Planned(8, 0)
    assert list(tmp_path.iterdir()) == []


def test_seeds_and_jobs_must_be_at_least_one(tmp_path: Path, make_plan: Plan) -> None:
    with pytest.raises(ValueError, match="--seeds"):
        make_plan(seeds=0)
    with pytest.raises(ValueError, match="--jobs"):
        list(ablate(make_plan(), tmp_path, never, device=CPU, jobs=0))
