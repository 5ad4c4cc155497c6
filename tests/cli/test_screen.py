"""Standard output holds the answer and nothing else, whatever stands around it."""

import json
import os
import subprocess
import sys

import pytest

from ds4d.cli.errors import attempt
from ds4d.cli.outcome import Outcome
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import Progress


def test_an_answer_amid_the_bars_of_a_terminal_is_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of `ds4d view`, which goes on working; new work has a bar again."""
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    terminal, end = pty.openpty()
    os.set_blocking(terminal, False)
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(end, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        with Screen("view", ScreenOptions()) as screen:
            screen.progress(Progress("loading", 1, 3))
            sys.stdout.write("loaded\n")
            screen.answer(Outcome("open http://127.0.0.1:8080"))
            before = os.read(terminal, 65536).decode()
            screen.progress(Progress("drawing", 1, 3))
        after = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert capsys.readouterr().out == "loaded\nopen http://127.0.0.1:8080\n"
    assert "loading" in before and before.endswith("\x1b[?25h"), "the bars have let go of the terminal"
    assert "drawing" in after


def test_what_others_print_stays_out_of_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("render", ScreenOptions(json=True)) as screen:
        sys.stdout.write("gsplat: setting up CUDA\n")
        screen.answer(Outcome("drawn"))
    out, err = capsys.readouterr()
    assert json.loads(out)["command"] == "render" and err == "gsplat: setting up CUDA\n"
    sys.stdout.write("back\n")
    assert capsys.readouterr().out == "back\n"


@pytest.mark.parametrize(("words", "status"), [(["info", "--json"], 0), (["render", "absent", "--json"], 2)])
def test_a_reader_that_leaves_is_no_error(words: list[str], status: int) -> None:
    """`ds4d info --json | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ds4d", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.returncode == status
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("code", "status", "said"), [("bad words", 1, "ds4d: error: bad words\n"), (3, 1, ""), (2, 2, "")]
)
def test_programs_that_leave_have_a_code_of_ours(
    capsys: pytest.CaptureFixture[str], code: int | str, status: int, said: str
) -> None:
    assert Screen("render", ScreenOptions()).answer(attempt(lambda: sys.exit(code))) == status
    assert capsys.readouterr().err == said
