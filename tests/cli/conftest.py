"""Running commands as users do, in this process."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ds4d.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command left on the screen."""

    status: int
    out: str
    err: str


@pytest.fixture
def ds4d(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs `ds4d` with the words given."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str | Path | float) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        screen = capsys.readouterr()
        return Outcome(status, screen.out, screen.err)

    return run


@pytest.fixture
def quick() -> list[str]:
    """Options that make a run a matter of a second."""
    return [
        "--device", "cpu", "--preset", "tiny", "--size", "32", "--init.num-gaussians", "200",
        "--init.hull.resolution", "24", "--training.static-steps", "2", "--training.dynamic-steps", "4",
        "--field.hexplane.resolution", "8", "--outputs.size", "32", "--outputs.seconds", "0.2", "--outputs.fps", "4",
        "--outputs.sheet-size", "32", "--outputs.sheet-columns", "2",
    ]  # fmt: skip


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal: what runs in a shell's background begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
