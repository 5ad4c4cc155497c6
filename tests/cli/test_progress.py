"""A run as it is seen."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ds4d.cli import progress
from ds4d.pipeline import FileWritten, StageStarted
from ds4d.training import DensityChanged, StepDone

EVENTS = [
    StageStarted("views"),
    StageStarted("fit"),
    *(StepDone(step, 40, "static", 1 / step, {"l1": 0.1}, 77, 0.5 * step) for step in range(1, 41)),
    DensityChanged(40, 77, 80),
    StageStarted("outputs"),
    FileWritten(Path("run/orbit.mp4")),
]


def test_a_terminal_gets_a_bar() -> None:
    screen = io.StringIO()
    with progress._Bar(Console(file=screen, force_terminal=True, width=120)) as bar:
        for event in EVENTS:
            bar.show(event)
    text = screen.getvalue()
    for part in (
        "reading the input, making views where they are needed",
        "fitting",
        "40/40",
        "loss 0.0250, 77 Gaussians",
        "wrote run/orbit.mp4",
    ):
        assert part in text
    assert "0:00:00" in text  # the time left


def test_elsewhere_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.screen_for(quiet=False) as screen:
        for event in EVENTS:
            screen.show(event)
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert shown.out == "" and "\x1b" not in shown.err
    assert lines[0] == "reading the input, making views where they are needed" and lines[-1] == "  wrote run/orbit.mp4"
    steps = [line for line in lines if line.startswith("  step ")]
    assert len(steps) == 20
    assert steps[9] == "  step 20 of 40 (static, loss 0.0500, 77 Gaussians), about 10 s left"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.screen_for(quiet=True) as screen:
        for event in EVENTS:
            screen.show(event)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
