"""Progress on standard error."""

import io

import pytest
from rich.console import Console

from ds4d.cli.displays import Bars, Display, Lines, describe_seconds, display_for
from ds4d.core import Progress


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def printed(capsys: pytest.CaptureFixture[str], works: list[tuple[str, int, int, float]]) -> list[str]:
    """The lines printed for steps (work, done, total, seconds since the step before)."""
    clock = Clock()
    lines = Lines(clock)
    for work, done, total, passed in works:
        clock.now += passed
        lines.progress(Progress(work, done, total))
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_lines_are_spaced_and_estimate_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [("drawing", done, 20, 2.0 if done else 0.0) for done in range(21)]
    assert printed(capsys, steps) == [
        "  drawing: 3 of 20, about 34 s left",
        "  drawing: 6 of 20, about 28 s left",
        "  drawing: 9 of 20, about 22 s left",
        "  drawing: 12 of 20, about 16 s left",
        "  drawing: 15 of 20, about 10 s left",
        "  drawing: 18 of 20, about 4 s left",
        "  drawing: 20 of 20",
    ]


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, [("drawing", done, 4, 0.9) for done in range(5)]) == []


def test_long_work_prints_fewer_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, [("fitting", done, 10_000, 1.0) for done in range(10_001)])
    assert 60 < len(lines) < 120 and lines[-1] == "  fitting: 10000 of 10000"


def test_pace_of_a_resumed_run_starts_anew(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [("fitting", 501, 600, 0.0), ("fitting", 506, 600, 5.0)]
    assert printed(capsys, steps) == ["  fitting: 506 of 600, about 2 min left"]


def test_repeated_work_has_a_new_pace(capsys: pytest.CaptureFixture[str]) -> None:
    first = [("fitting", 0, 9, 0.0), ("fitting", 1, 9, 60.0)]
    again = [("fitting", 0, 9, 0.0), ("fitting", 1, 9, 6.0)]
    assert printed(capsys, first + again) == [
        "  fitting: 1 of 9, about 8 min left",
        "  fitting: 1 of 9, about 48 s left",
    ]


def test_terminals_get_bars_with_the_time_left() -> None:
    file = io.StringIO()
    bars = Bars(Console(file=file, force_terminal=True, width=100))
    bars.print("stage 4 of 6: fitting")
    for done in range(41):
        bars.progress(Progress("fitting", done, 40), f"loss {done}")
    bars.progress(Progress("orbit.mp4", 0, 3))
    bars.progress(Progress("orbit.mp4", 2, 3))
    bars.progress(Progress("orbit.mp4", 1, 3))  # started again
    bars.close()
    text = file.getvalue()
    for part in ("stage 4 of 6: fitting", "fitting", "orbit.mp4", "1/3"):
        assert part in text
    last = text[text.rindex("orbit.mp4") :]
    assert "fitting" not in last and "-:--:--" in last


def test_full_bars_stay_until_other_work_begins() -> None:
    file = io.StringIO()
    bars = Bars(Console(file=file, force_terminal=True, width=100))
    for done in range(3):
        bars.progress(Progress("fitting", done, 2), f"loss {done}")
    bars.close()
    assert "2/2" in file.getvalue() and "loss 2" in file.getvalue() and "0:00:00" in file.getvalue()


def test_markup_in_names_is_not_interpreted() -> None:
    file = io.StringIO()
    bars = Bars(Console(file=file, force_terminal=True, width=100, emoji=False))
    bars.print("reading a:cat:b/[red].mp4")
    bars.progress(Progress("[bold]a.mp4", 1, 3), "[dim]:cat:")
    bars.close()
    for name in ("reading a:cat:b/[red].mp4", "[bold]a.mp4", "[dim]:cat:"):
        assert name in file.getvalue()


def test_bars_of_aborted_work_are_replaced() -> None:
    file = io.StringIO()
    bars = Bars(Console(file=file, force_terminal=True, width=100))
    for done, total in ((0, 9), (1, 9), (1, 1)):
        bars.progress(Progress("reading", done, total))
    bars.close()
    bars.progress(Progress("drawing", 0, 3))
    bars.close()
    last = file.getvalue()[file.getvalue().rindex("drawing") :]
    assert "1/1" in file.getvalue() and "reading" not in last


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_files_get_lines_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert isinstance(display_for(quiet=False), Lines)


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display = display_for(quiet=True)
    assert type(display) is Display and isinstance(display_for(quiet=False), Lines)
    display.print("hello")
    display.progress(Progress("fitting", 1, 1))
    display.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (89.0, "89 s"), (240.0, "4 min"), (9000.0, "2.5 h")])
def test_durations_are_rounded(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text
