"""The display of a run in progress."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.cli import run_display
from ds4d.cli.console import Console, ConsoleOptions
from ds4d.core import Progress
from ds4d.pipeline import FileWritten, MeshRegistered, Resolved, StageStarted
from ds4d.shapes.registration import Orientation, Registration
from ds4d.training import GaussiansChanged, StepDone

REGISTRATION = Registration(
    positions=torch.zeros(4, 3),
    colors=None,
    matrix=torch.eye(4),
    orientation=Orientation("+z", True, azimuth_deg=30.2, elevation_deg=-10.4, roll_deg=0.3),
    silhouette_iou=0.914,
    color_error=None,
    knows_distance=True,
)
EVENTS = [
    StageStarted("views"),
    Resolved("views", "inflate (as asked)"),
    MeshRegistered(REGISTRATION),
    StageStarted("training"),
    *(StepDone(step, 40, "static", 1 / step, {"l1": 0.1}, 77, 0.5 * step) for step in range(1, 41)),
    GaussiansChanged(40, 77, 80),
    StageStarted("outputs"),
    FileWritten(Path("run/orbit.mp4")),
]


def printed(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> tuple[str, list[str]]:
    """Standard output and the lines of standard error of a run."""
    with Console("generate", ConsoleOptions(quiet=quiet)) as console:
        for event in EVENTS:
            run_display.show_event(event, console)
    out, err = capsys.readouterr()
    return out, err.splitlines()


def test_stages_and_their_details_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    out, lines = printed(capsys, quiet=False)
    assert out == "" and [line[:10] for line in lines] == [
        "stage 1 of",
        "  views: i",
        "  mesh reg",
        "stage 4 of",
        "stage 6 of",
    ]
    assert all(part in lines[2] for part in ("+z", "mirrored", "azimuth 30", "elevation -10", "roll 0", "0.91"))


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, quiet=True) == ("", [])


def test_steps_are_progress_with_the_loss() -> None:
    steps = []

    class Recorder(Console):
        def progress(self, progress: Progress, note: str = "") -> None:
            steps.append((progress, note))

    for event in EVENTS:
        run_display.show_event(event, Recorder("generate", ConsoleOptions(quiet=True)))
    assert len(steps) == 40
    assert steps[19] == (Progress("training", 20, 40), "static, loss 0.0500, 77 Gaussians")


def test_registration_names_what_is_ambiguous() -> None:
    line = run_display.describe_registration(replace(REGISTRATION, color_error=0.0512, knows_distance=False))
    assert "0.05" in line and "ambiguous" in line
