"""A run as it is seen."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from ds4d.cli import progress
from ds4d.pipeline import FileWritten, ShapeAligned, StageStarted
from ds4d.registration import Alignment, Turn
from ds4d.training import DensityChanged, StepDone

ALIGNED = Alignment(
    positions=torch.zeros(4, 3),
    colors=None,
    matrix=torch.eye(4),
    turn=Turn("+z", True, azimuth_deg=30.2, elevation_deg=-10.4, roll_deg=0.3),
    silhouette_iou=0.914,
    color_error=None,
    knows_distance=True,
)
EVENTS = [
    StageStarted("views"),
    ShapeAligned(ALIGNED),
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
        "azimuth 30, elevation -10, roll 0",
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
    assert lines[1] == (
        "  the shape's up axis is +z, it is mirrored; the front sees it from azimuth 30, elevation -10, roll 0; "
        "silhouettes overlap (IoU) 0.91; it has no colours"
    )
    assert lines[0] == "reading the input, making views where they are needed" and lines[-1] == "  wrote run/orbit.mp4"
    steps = [line for line in lines if line.startswith("  step ")]
    assert len(steps) == 20
    assert steps[9] == "  step 20 of 40 (static, loss 0.0500, 77 Gaussians), about 10 s left"


def test_an_alignment_says_what_it_could_not_see() -> None:
    line = progress.describe_alignment(replace(ALIGNED, color_error=0.0512, knows_distance=False))
    assert line.endswith("colours differ by 0.05; one view does not tell its distance: size and distance go together")


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.screen_for(quiet=True) as screen:
        for event in EVENTS:
            screen.show(event)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
