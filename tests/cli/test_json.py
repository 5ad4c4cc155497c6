"""`--json` and `--quiet`: what scripts get from every command."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.ablation import AblationScene
from ds4d.ablation.scenes import Score
from ds4d.cli import COMMANDS, ablate
from ds4d.cli.exit_codes import MEANINGS, ExitCode
from ds4d.cli.outcome import Outcome
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import Warned, notify

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
KEYS = ["command", "result", "wrote", "next", "exit_code", "warnings", "seconds"]


def fit(scene: AblationScene, config: object, device: object) -> Score:
    return Score({"psnr": 20.0, "psnr_dynamic": 18.0, "input_psnr": 30.0}, 14.0, 7)


def table(title: str) -> dict[str, str]:
    """The first two cells of the rows under a title of the page."""
    rows = re.findall(r"^\| `?([\w-]+)`? \| (.*) \|$", PAGE.split(title)[1].split("\n\n##")[0], flags=re.MULTILINE)
    return dict(rows)


@pytest.fixture
def words(run: Path, sample_folder: Path, quick: list[str], tmp_path: Path) -> dict[str, list[object]]:
    """Words that each command understands and can do at once."""
    video = sample_folder / "front.mp4"
    return {
        "check": [video, "--size", 48, "-o", tmp_path / "out"],
        "views": [video, "-o", tmp_path / "out", "--size", 32, "--frames", 2],
        "generate": [sample_folder, "-o", tmp_path / "out", *quick],
        "render": [run, "--orbit", "--size", 16, "--seconds", 0.1, "--loop", "-o", tmp_path / "out"],
        "eval": [run, "--data", sample_folder, "--split", "front"],
        "ablate": [sample_folder, "-o", tmp_path / "out", "--variants", "A", "B", "--seeds", 1, "--device", "cpu"],
        "sample": [tmp_path / "out", "--frames", 1, "--size", 16, "--supersampling", 1],
        "report": [run, "-o", tmp_path / "out.html"],
        "export": [run, "--times", 0, 1, "--loop", "-o", tmp_path / "out"],
        "weights": ["--hash"],
        "info": [],
    }


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "view"])
def test_one_object_says_it_all(
    ds4d: Callable, words: dict[str, list[object]], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "fit_scene", fit)
    outcome = ds4d(command, *words[command], "--json")
    answer = json.loads(outcome.out)
    assert outcome.status == answer["exit_code"] == 0 and answer["command"] == command, outcome.err
    assert sorted(answer) == sorted(KEYS) and answer["seconds"] >= 0
    documented = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", table("Else:")[command]))
    named = set(documented)
    if command not in ("generate", "export", "ablate"):
        assert set(answer["result"]) == named
    else:
        assert len(set(answer["result"]) & named) >= 2
    assert all(Path(path).exists() for path in answer["wrote"])
    assert bool(answer["wrote"]) == (command not in ("weights", "info"))
    for program, verb, *_ in map(shlex.split, answer["next"]):
        assert (program == "ds4d" and verb in COMMANDS) or (program, verb) == (sys.executable, "-m")
    assert answer["next"] or command == "weights"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "view"])
def test_quiet_says_nothing(
    ds4d: Callable, words: dict[str, list[object]], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "fit_scene", fit)
    outcome = ds4d(command, *words[command], "--quiet")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


def test_quiet_says_errors_and_no_warnings(ds4d: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = ds4d("check", tmp_path / "none.mp4", "--quiet")
    assert outcome.status == 2 and outcome.out == ""
    assert outcome.err.startswith("ds4d: error: ") and outcome.err.count("\n") == 1
    for quiet, said in ((True, ""), (False, "ds4d: warning: too dark\n")):
        with Screen("check", ScreenOptions(quiet=quiet)):
            notify(Warned("input", "too\n dark"))
        assert capsys.readouterr().err == said


def test_warnings_stand_in_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("check", ScreenOptions(json=True, quiet=True)) as screen:
        notify(Warned("input", "too dark"))
    assert screen.answer(Outcome(result={"psnr": float("nan"), "file": Path("a"), "all": (1.5, float("inf"))})) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["warnings"] == ["too dark"] and err == ""
    assert answer["result"] == {"psnr": None, "file": "a", "all": [1.5, None]}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["chekc", "none.mp4"], "'chekc' is no command. Did you mean check?"),
        (["check", "none.mp4"], "none.mp4 must be a video"),
        (["export", "none", "-o", "x", "--times", "2"], "must be the output folder|must exist, got none"),
        (["render", "none", "--bogus"], "refused: wrong words"),
    ],
)
def test_an_error_is_an_object_too(ds4d: Callable, tmp_path: Path, words: list[str], error: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = ds4d(*words, "--json")
    answer = json.loads(outcome.out)
    assert outcome.status == answer["exit_code"] == 2 and re.search(error, answer["error"])
    assert sorted(answer) == sorted([*KEYS, "error"]) and answer["result"] == {} and answer["wrote"] == []
    assert outcome.err  # people who look on are told, too


def test_failed_fits_are_an_error_with_a_table(
    ds4d: Callable, words: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(scene: AblationScene, config, device: object) -> Score:
        if config.init.method == "random":
            raise RuntimeError("out of luck")
        return fit(scene, config, device)

    monkeypatch.setattr(ablate, "fit_scene", half)
    answer = json.loads(ds4d("ablate", *words["ablate"], "--json").out)
    assert answer["exit_code"] == 1 and answer["error"].startswith("1 fit failed; why stands in ")
    assert answer["result"]["tables"] and len(answer["wrote"]) >= 2
    assert answer["next"] == [shlex.join(["ds4d", "ablate", *map(str, words["ablate"]), "--json"])]


def test_help_is_no_object(ds4d: Callable) -> None:
    outcome = ds4d("check", "--help", "--json")
    assert outcome.status == 0 and "usage: ds4d check" in outcome.out and not outcome.out.startswith("{")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_view_answers_as_soon_as_it_can_be_looked_at(finished_run: Path) -> None:
    words = [sys.executable, "-m", "ds4d", "view", str(finished_run), "--device", "cpu", "--json"]
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **listens)
    try:
        lines = [process.stdout.readline()]
        while lines[-1] not in ("}\n", ""):
            lines.append(process.stdout.readline())
        answer = json.loads("".join(lines))
        assert answer["result"]["host"] == "127.0.0.1" and answer["result"]["port"] > 1023
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
    finally:
        process.kill()


def test_the_page_names_every_exit_code_and_every_command() -> None:
    assert {int(code): said for code, said in table("## Exit codes").items() if code != "code"} == MEANINGS
    assert set(MEANINGS) == set(ExitCode) and ExitCode.INTERRUPTED == 128 + signal.SIGINT
    assert ExitCode.TERMINATED == 128 + signal.SIGTERM
    assert set(COMMANDS) <= set(table("Else:"))
    assert set(KEYS) <= set(table("The object's keys:"))


def test_many_files_are_counted(tmp_path: Path) -> None:
    few, many = ([tmp_path / split / f"{i}.png" for i in range(8) for split in splits] for splits in ("ab", "abc"))
    assert Outcome(wrote=few).spoken().splitlines() == [f"wrote {path}" for path in few]
    assert Outcome(wrote=many).spoken() == f"wrote 24 files into {tmp_path}"
