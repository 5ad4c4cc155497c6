"""Runs commands in this process, as users run them."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ds4d.cli import main


@dataclass(frozen=True)
class Completed:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def ds4d(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Completed]:
    """Runs `ds4d` with arguments."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*argv: str | Path | float) -> Completed:
        capsys.readouterr()
        code = main([str(word) for word in argv])
        printed = capsys.readouterr()
        return Completed(code, printed.out, printed.err)

    return run


@pytest.fixture
def quick() -> list[str]:
    """Options of `ds4d generate` for a run of about a second."""
    return [
        "--device", "cpu", "--preset", "tiny", "--size", "32", "--init.num-gaussians", "200",
        "--init.hull.resolution", "24", "--training.static-steps", "2", "--training.dynamic-steps", "4",
        "--field.hexplane.resolution", "8", "--outputs.size", "32", "--outputs.seconds", "0.2", "--outputs.fps", "4",
        "--outputs.sheet-size", "32", "--outputs.sheet-columns", "2",
    ]  # fmt: skip


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises as in a terminal: processes in a shell's background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
