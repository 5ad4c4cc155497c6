"""Whatever a path is, or leads to, a command answers with one line that a terminal can show, and exit code 2."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.cli.console import Console, ConsoleOptions
from ds4d.cli.displays import one_line, printable
from ds4d.cli.errors import run_safely
from ds4d.cli.result import ExitCode, Outcome
from ds4d.core import Warned

LONG = "a" * 300


def check_one_line(done, *parts: str) -> None:
    assert done.code == 2, done
    last = done.err.splitlines()[-1]
    assert last.startswith("ds4d: error: ") and done.err.count("ds4d: error: ") == 1, done.err
    assert "Traceback" not in done.err
    assert printable(done.err) == done.err and done.out == ""
    assert all(part in done.err for part in parts), done.err


READ = [
    ("check", "NAME"),
    ("generate", "NAME", "-o", "out"),
    ("export", "NAME", "-o", "out.ply"),
    ("eval", "NAME", "IN"),
]
WRITE = [("generate", "IN", "-o", "NAME"), ("sample", "NAME")]
NOWHERE = [f"{LONG}.mp4", "loop/x.mp4", "pipe", "loop", "file/x"]
ABSENT = ["\x1b]0;x\x07.mp4", "\udcff", "a\nb\rc"]  # an output might have such a name


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        *((argv, name) for argv in [*READ, *WRITE] for name in NOWHERE),
        *((argv, name) for argv in READ[1:3] for name in ABSENT),
    ],
)
def test_paths_that_lead_nowhere(
    ds4d: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("file").touch()
    Path("IN").mkdir()
    check_one_line(ds4d(*(name if word == "NAME" else word for word in argv)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["IN", "file", "loop", "pipe"]


@pytest.mark.parametrize("variable", ["DS4D_WEIGHTS", "DS4D_MATTING_MODEL", "HF_HOME"])
@pytest.mark.parametrize("value", ["~no-such-user/x", LONG])
def test_environment_variables_that_lead_nowhere(
    ds4d: Callable, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    done = ds4d("weights")
    assert done.code in (0, 2) and "Traceback" not in done.err


@pytest.mark.parametrize("code", [errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ENOENT, errno.EMFILE, errno.EXDEV])
@pytest.mark.parametrize("name", ["a\x1b.mp4", b"a.mp4", None])
def test_every_failure_of_the_file_system_is_one_line(
    capsys: pytest.CaptureFixture[str], code: int, name: str | bytes | None
) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code), name)

    with Console("render", ConsoleOptions()) as console:
        assert console.print_result(run_safely(fail)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and os.strerror(code) in err and printable(err) == err
    assert name is None or "a" in err


NAME = "a\x1b]0;x\x07\x9b\u202e\r\x00\udcffb"


def test_names_reach_the_terminal_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with Console("render", ConsoleOptions()) as console:
        console.print(f"reading {NAME}")
        console.notice(Warned("input", f"{NAME} is odd"))
        console.print_result(Outcome(f"text {NAME}", files=[Path(NAME)], next=[NAME]))
        console.print_result(Outcome(error=NAME, exit_code=ExitCode.USAGE_ERROR))
        console.print_result(run_safely(lambda: [][len(NAME)]))
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert printable(text) == text and r"a\x1b]0;x\x07\x9b\u202e" in text


def test_ordinary_text_is_unchanged() -> None:
    for text in ("ä ≥ 3 Größe 日本 🙂", "two\nlines", ""):
        assert printable(text) == text


def test_messages_have_a_moderate_length() -> None:
    assert one_line("got  a\n b") == "got a b"
    shown = one_line("begin " + "x" * 10**6 + " end")
    assert len(shown) < 3000 and shown.startswith("begin") and shown.endswith("end")


@pytest.mark.parametrize("options", [["--seconds", "1e15"], ["--fps", "1e15"], ["--size", "1000000"]])
def test_absurd_videos_are_refused(ds4d: Callable, finished_run: Path, tmp_path: Path, options: list[str]) -> None:
    done = ds4d("render", finished_run, "--orbit", "-o", tmp_path / "a.mp4", *options)
    assert done.code == 2 and "Traceback" not in done.err and not list(tmp_path.iterdir())


def test_a_long_slow_motion_is_refused(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    done = ds4d("render", finished_run, "--orbit", "-o", tmp_path / "a.mp4", "--slow", "1e12")
    assert done.code == 2 and "slow" in done.err


def test_names_with_colons_are_files(
    ds4d: Callable, sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("http:/127.0.0.1:9").mkdir(parents=True)
    for name in ("12:30.mp4", "concat:a.mp4", "http:/127.0.0.1:9/a.mp4"):
        shutil.copy(sample_folder / "front.mp4", name)
        assert ds4d("check", name).code == 0


def test_addresses_are_not_fetched(ds4d: Callable) -> None:
    check_one_line(ds4d("check", "http://127.0.0.1:9/a.mp4"), "127.0.0.1")
