"""Small fits repeat the stored ones; `make_golden_runs.py` says when to store them again."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ds4d.core import large_arrays

SCRIPT = Path(__file__).with_name("make_golden_runs.py")

# On one machine a fit repeats bit by bit. Elsewhere sums are rounded differently, which Adam magnifies where a gradient
# is nearly 0: its steps have the length of the rate whatever the gradient's size. Drawing with the reference splatter,
# which rounds differently too, moves the losses by 2 %, the space planes by 0.2 % and the time planes by 10 %; five per
# cent on a rate or a weight move them by three times that.
TOLERANCES = {
    "loss": 0.05,
    "l1": 0.05,
    "mse": 0.06,
    "ssim": 0.05,
    "mask": 0.06,
    "plane_smoothness": 0.02,
    "time_smoothness": 0.3,
    "time_l1": 0.15,
    "rigidity": 0.3,
    "view_warps": 0.3,
    "view_gains": 0.3,
    "num_gaussians": 0.0,
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that made the file."""
    spec = importlib.util.spec_from_file_location("make_golden_runs", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(script: ModuleType) -> dict[str, Any]:
    """What the file holds."""
    return json.loads(script.GOLDEN.read_text())


@pytest.mark.parametrize("name", ["views", "video", "perturbed"])
def test_a_fit_is_the_stored_one(name: str, script: ModuleType, stored: dict[str, Any]) -> None:
    run, expected = script.golden_run(name), stored["runs"][name]
    assert len(run["curve"]) == len(expected["curve"]) == script.CONFIG.training.total_steps
    for step, (ours, theirs) in enumerate(zip(run["curve"], expected["curve"], strict=True), start=1):
        assert ours.keys() == theirs.keys(), f"step {step}"
        for term, value in ours.items():
            assert value == pytest.approx(theirs[term], rel=TOLERANCES[term], abs=1e-7), f"{term} at step {step}"
    if script.machine() == stored["machine"]:
        assert run == expected  # bit by bit


def test_every_stored_run_is_tested(script: ModuleType, stored: dict[str, Any]) -> None:
    assert set(stored["runs"]) == set(script.RUNS) == {"views", "video", "perturbed"}


@pytest.mark.parametrize("name", ["views", "video"])
def test_a_fit_with_all_arrays_in_files_is_the_same(
    name: str, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = script.golden_run(name)
    monkeypatch.setattr(large_arrays, "LIMIT_BYTES", 0)
    monkeypatch.setattr(large_arrays, "_BLOCK_BYTES", 1 << 16)
    made = []
    monkeypatch.setattr(large_arrays, "_map", lambda size, real=large_arrays._map: (made.append(size), real(size))[1])
    assert script.golden_run(name) == in_memory  # bit by bit
    assert made
