"""The console: results on standard output, everything else on standard error."""

import json
import os
import subprocess
import sys
import time

import pytest

from ds4d.cli.console import Console, ConsoleOptions
from ds4d.cli.errors import run_safely
from ds4d.cli.result import Outcome
from ds4d.core import Degraded, Progress, Warned, notify


def read_all(terminal: int) -> str:
    """What a pseudo-terminal holds, which a single read may return in part."""
    text = b""
    while True:
        time.sleep(0.05)
        try:
            text += os.read(terminal, 65536)
        except BlockingIOError:
            return text.decode()


def test_a_result_between_progress_bars_is_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of `ds4d viewer`, which goes on working; new work has a bar again."""
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    terminal, end = pty.openpty()
    os.set_blocking(terminal, False)
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(end, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        with Console("viewer", ConsoleOptions()) as console:
            console.progress(Progress("loading", 1, 3))
            sys.stdout.write("loaded\n")
            console.print_result(Outcome("open http://127.0.0.1:8080"))
            before = read_all(terminal)
            console.progress(Progress("rendering", 1, 3))
        after = read_all(terminal)
    os.close(terminal)
    assert capsys.readouterr().out == "loaded\nopen http://127.0.0.1:8080\n"
    assert "loading" in before and before.endswith("\x1b[?25h"), "the bars have released the terminal"
    assert "rendering" in after


def test_notices_are_printed_once_and_again_after_long_work(capsys: pytest.CaptureFixture[str]) -> None:
    lpips, dark = Degraded("lpips", "LPIPS is off."), Warned("input", "The video is\n dark.")
    lines = ["ds4d: degraded: LPIPS is off.", "ds4d: warning: The video is dark."]
    with Console("generate", ConsoleOptions()) as console:
        for notice in (lpips, dark, dark):
            notify(notice)
        console.print_result(Outcome("done"))
    assert capsys.readouterr() == ("done\n", "".join(f"{line}\n" for line in lines))
    with Console("generate", ConsoleOptions()) as console:
        notify(lpips)
        console.print("stage 1")
        notify(dark)
        console.print("stage 2")
        console.print_result(Outcome("done"))
    assert capsys.readouterr().err.splitlines() == [lines[0], "stage 1", lines[1], "stage 2", *lines]


def test_json_moves_other_output_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Console("render", ConsoleOptions(json=True)) as console:
        sys.stdout.write("gsplat: setting up CUDA\n")
        console.print_result(Outcome("done"))
    out, err = capsys.readouterr()
    assert json.loads(out)["command"] == "render" and err == "gsplat: setting up CUDA\n"
    sys.stdout.write("back\n")
    assert capsys.readouterr().out == "back\n"


@pytest.mark.parametrize(("argv", "code"), [(["info", "--json"], 0), (["render", "absent", "--json"], 2)])
def test_a_closed_pipe_is_no_error(argv: list[str], code: int) -> None:
    """`ds4d info --json | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ds4d", *argv], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.returncode == code
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "code", "printed"), [("bad words", 1, "ds4d: error: bad words\n"), (3, 1, ""), (2, 2, "")]
)
def test_exits_of_other_code_have_an_exit_code_of_ours(
    capsys: pytest.CaptureFixture[str], raised: int | str, code: int, printed: str
) -> None:
    assert Console("render", ConsoleOptions()).print_result(run_safely(lambda: sys.exit(raised))) == code
    assert capsys.readouterr().err == printed
