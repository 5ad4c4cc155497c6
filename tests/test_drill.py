"""The short form of the drill, and that the drill notices what must not happen."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("viser", reason="needs the extra viewer")
pytest.importorskip("resource", reason="needs the limits and forks of Unix")
DRILL = Path(__file__).parent / "drill"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", DRILL / "harness.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_the_short_form_survives(tmp_path: Path) -> None:
    argv = [sys.executable, str(DRILL), "--short", "--json", str(tmp_path / "drill.json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "drill.json").read_text())
    assert record["failures"] == [] and sum(row["tried"] for row in record["classes"].values()) >= 50


@pytest.mark.parametrize(
    ("attack", "failure"),
    [
        (lambda bench, random, number: None, ""),
        (lambda bench, random, number: [][number], "IndexError"),
        (lambda bench, random, number: os.kill(os.getpid(), signal.SIGKILL), "exit code -9"),
        (lambda bench, random, number: os.kill(os.getpid(), signal.SIGSTOP), "no end"),
    ],
    ids=["survives", "raises", "dies", "hangs"],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_drill_notices(harness: ModuleType, tmp_path: Path, attack: Callable, failure: str) -> None:
    seconds = 1.0 if failure == "no end" else 60.0  # what has an end may take long on a busy machine
    tasks = [("any", harness.AttackClass(attack, 1, 1, seconds=seconds), 7)]
    (outcome,) = harness.run_attacks(tasks, tmp_path, tmp_path, tmp_path / "work", seed=0, processes=1)
    assert (outcome.kind, outcome.number) == ("any", 7)
    assert failure in outcome.failure and bool(outcome.failure) == bool(failure)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "ds4d: error: x"), (2, "Traceback (most recent call last):\nds4d: error: x"), (2, ""), (0, "\x07"),
        (2, "ds4d: error: internal error of ds4d"), (130, "ds4d: error: interrupted"),
    ],
)  # fmt: skip
def test_an_unclear_ending_is_a_failure(harness: ModuleType, code: int, text: str) -> None:
    harness.check_ending(["check"], 2, "ds4d: error: x must be a file.")
    with pytest.raises(AssertionError):
        harness.check_ending(["check"], code, text)
