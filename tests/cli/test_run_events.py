"""A run as it is seen."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.cli import run_events
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import Progress
from ds4d.init.registration import Orientation, Registration
from ds4d.pipeline import FileWritten, MeshRegistered, Resolved, StageStarted
from ds4d.training import GaussiansChanged, StepDone

ALIGNED = Registration(
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
    MeshRegistered(ALIGNED),
    StageStarted("training"),
    *(StepDone(step, 40, "static", 1 / step, {"l1": 0.1}, 77, 0.5 * step) for step in range(1, 41)),
    GaussiansChanged(40, 77, 80),
    StageStarted("outputs"),
    FileWritten(Path("run/orbit.mp4")),
]


def seen(*, quiet: bool, capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """Standard output, and the lines of standard error, of a run that takes no time."""
    with Screen("generate", ScreenOptions(quiet=quiet)) as screen:
        for event in EVENTS:
            run_events.show(event, screen)
    shown = capsys.readouterr()
    return shown.out, shown.err.splitlines()


def test_a_run_says_its_stages_and_what_they_work_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert seen(quiet=False, capsys=capsys) == (
        "",
        [
            "stage 1 of 6: reading the input, making views where they are needed",
            "  views: inflate (as asked)",
            "  the shape's up axis is +z, it is mirrored; the front sees it from azimuth 30, elevation -10, roll 0; "
            "silhouettes overlap (IoU) 0.91; it has no colors",
            "stage 4 of 6: fitting",
            "stage 6 of 6: drawing images and videos",
        ],
    )


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert seen(quiet=True, capsys=capsys) == ("", [])


def test_steps_are_told_with_their_losses() -> None:
    heard = []

    class Ear(Screen):
        def progress(self, progress: Progress, note: str = "") -> None:
            heard.append((progress, note))

    for event in EVENTS:
        run_events.show(event, Ear("generate", ScreenOptions(quiet=True)))
    assert len(heard) == 40
    assert heard[19] == (Progress("fitting", 20, 40), "static, loss 0.0500, 77 Gaussians")


def test_an_alignment_says_what_it_could_not_see() -> None:
    line = run_events.describe_registration(replace(ALIGNED, color_error=0.0512, knows_distance=False))
    assert line.endswith("colors differ by 0.05; one view does not tell its distance: size and distance go together")
