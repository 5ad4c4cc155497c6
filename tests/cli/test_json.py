"""`--json` and `--quiet` of every command, and docs/command_line.md."""

import json
import re
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import trimesh

from ds4d.ablation import AblationScene
from ds4d.ablation.scenes import Score
from ds4d.cli import COMMANDS
from ds4d.cli.commands import ablate
from ds4d.cli.console import Console, ConsoleOptions
from ds4d.cli.result import MEANINGS, ExitCode, Outcome
from ds4d.core import Degraded, Warned, notify
from ds4d.evaluation import ProtocolConfig, run_protocol, write_scores

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
KEYS = ["command", "result", "files", "next", "exit_code", "degradations", "warnings", "seconds"]


def fit(scene: AblationScene, config: object, device: object) -> Score:
    return Score({"psnr": 20.0, "psnr_dynamic": 18.0, "input_psnr": 30.0}, 14.0, 7)


def table(title: str) -> dict[str, str]:
    """The first table under a title of the page: its first two columns."""
    rows = re.findall(r"^\| `?([\w-]+)`? \| (.*) \|$", PAGE.split(title)[1].split("\n\n##")[0], flags=re.MULTILINE)
    return dict(rows)


@pytest.fixture(scope="module")
def scores(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scores of the sample against itself; not to be written into."""
    folder, config = tmp_path_factory.mktemp("scored") / "scores", ProtocolConfig(frames=1, metrics=("psnr",))
    write_scores(folder, run_protocol("views", sample_folder, sample_folder, config, torch.device("cpu")), [])
    return folder


@pytest.fixture
def argv(
    run: Path, sample_folder: Path, scores: Path, quick: list[str], tmp_path: Path, creature_mesh: trimesh.Trimesh
) -> dict[str, list[object]]:
    """Quick arguments of each command."""
    video = sample_folder / "front.mp4"
    creature_mesh.export(tmp_path / "mesh.ply")
    (tmp_path / "rows.csv").write_text(f"input,size\n{video},32\n")
    return {
        "check": [video, "--size", 48, "-o", tmp_path / "out"],
        "multiview": [video, "-o", tmp_path / "out", "--size", 32, "--frames", 2],
        "generate": [sample_folder, "-o", tmp_path / "out", *quick],
        "render": [run, "--orbit", "--size", 16, "--seconds", 0.1, "--loop", "-o", tmp_path / "out"],
        "eval": [run, "--data", sample_folder, "--split", "front"],
        "compare": [scores, "-o", tmp_path / "out"],
        "batch": [tmp_path / "rows.csv", "-o", tmp_path / "out", "--dry-run"],
        "ablate": [sample_folder, "-o", tmp_path / "out", "--variants", "A", "B", "--seeds", 1, "--device", "cpu"],
        "sample": [tmp_path / "out", "--frames", 1, "--size", 16, "--supersampling", 1],
        "report": [run, "-o", tmp_path / "out.html"],
        "export": [run, "--times", 0, 1, "--loop", "-o", tmp_path / "out"],
        "animate": [tmp_path / "mesh.ply", run, "-o", tmp_path / "out.glb"],
        "weights": ["--hash"],
        "compile": [],
        "doctor": [],
        "info": [],
        "completion": ["bash"],
    }


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "viewer"])
def test_json_is_one_documented_object(
    ds4d: Callable, argv: dict[str, list[object]], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "fit_scene", fit)
    done = ds4d(command, *argv[command], "--json")
    answer = json.loads(done.out)
    assert done.code == answer["exit_code"] == 0 and answer["command"] == command, done.err
    assert sorted(answer) == sorted(KEYS) and answer["seconds"] >= 0
    documented = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", table("Otherwise:")[command]))
    named = set(documented)
    if command not in ("generate", "export", "ablate"):
        assert set(answer["result"]) == named
    else:
        assert len(set(answer["result"]) & named) >= 2
    assert all(Path(path).exists() for path in answer["files"])
    assert bool(answer["files"]) == (command not in ("weights", "compile", "doctor", "info", "completion"))
    for step in answer["next"]:
        program, verb, *_ = shlex.split(step)
        assert (program == "ds4d" and verb in COMMANDS) or step.endswith(" in a browser")
    assert answer["next"] or command in ("weights", "completion")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "viewer"])
def test_quiet_prints_nothing(
    ds4d: Callable, argv: dict[str, list[object]], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "fit_scene", fit)
    done = ds4d(command, *argv[command], "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_quiet_prints_errors_and_no_warnings(
    ds4d: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ds4d("check", tmp_path / "none.mp4", "--quiet")
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("ds4d: error: ") and done.err.count("\n") == 1
    for quiet, printed in ((True, ""), (False, "ds4d: warning: too dark\n")):
        with Console("check", ConsoleOptions(quiet=quiet)):
            notify(Warned("input", "too\n dark"))
        assert capsys.readouterr().err == printed


def test_json_holds_warnings_and_null_for_numbers_that_are_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    with Console("check", ConsoleOptions(json=True, quiet=True)) as console:
        notify(Warned("input", "too dark"))
        notify(Degraded("lpips", "off"))
        warnings.warn("slow", stacklevel=1)
    assert (
        console.print_result(Outcome(result={"psnr": float("nan"), "file": Path("a"), "all": (1.5, float("inf"))})) == 0
    )
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["warnings"] == [{"part": "input", "message": "too dark"}, {"part": "python", "message": "slow"}]
    assert answer["degradations"] == [{"part": "lpips", "message": "off"}] and err == ""
    assert answer["result"] == {"psnr": None, "file": "a", "all": [1.5, None]}


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["chekc", "none.mp4"], "'chekc'.* check"),
        (["check", "none.mp4"], "none.mp4"),
        (["export", "none", "-o", "x", "--times", "2"], "--times|none"),
        (["render", "none", "--bogus"], "--bogus"),
    ],
)
def test_errors_are_objects(ds4d: Callable, tmp_path: Path, argv: list[str], error: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = ds4d(*argv, "--json")
    answer = json.loads(done.out)
    assert done.code == answer["exit_code"] == 2 and re.search(error, answer["error"])
    assert sorted(answer) == sorted([*KEYS, "error"]) and answer["result"] == {} and answer["files"] == []
    assert done.err  # for people


def test_failed_fits_are_an_error_with_a_result(
    ds4d: Callable, argv: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(scene: AblationScene, config, device: object) -> Score:
        if config.init.method == "random":
            raise RuntimeError("diverged")
        return fit(scene, config, device)

    monkeypatch.setattr(ablate, "fit_scene", half)
    answer = json.loads(ds4d("ablate", *argv["ablate"], "--json").out)
    assert answer["exit_code"] == 1 and answer["error"].startswith("1 fit failed")
    assert answer["result"]["tables"] and len(answer["files"]) >= 2
    assert answer["next"] == [shlex.join(["ds4d", "ablate", *map(str, argv["ablate"]), "--json"])]


def test_help_is_text(ds4d: Callable) -> None:
    done = ds4d("check", "--help", "--json")
    assert done.code == 0 and "usage: ds4d check" in done.out and not done.out.startswith("{")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_viewer_prints_its_result_when_it_can_be_opened(finished_run: Path) -> None:
    argv = [sys.executable, "-m", "ds4d", "viewer", str(finished_run), "--device", "cpu", "--json"]
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **listens)
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


def test_the_page_lists_every_exit_code_command_and_key() -> None:
    assert {int(code): meaning for code, meaning in table("## Exit codes").items() if code != "code"} == MEANINGS
    assert set(MEANINGS) == set(ExitCode) and ExitCode.INTERRUPTED == 128 + signal.SIGINT
    assert ExitCode.TERMINATED == 128 + signal.SIGTERM
    assert set(COMMANDS) <= set(table("Otherwise:"))
    assert set(KEYS) <= set(table("The keys of the object:"))


def test_many_files_are_only_counted(tmp_path: Path) -> None:
    few, many = ([tmp_path / split / f"{i}.png" for i in range(8) for split in splits] for splits in ("ab", "abc"))
    assert Outcome(files=few).summary().splitlines() == [f"wrote {path}" for path in few]
    assert Outcome(files=many).summary() == f"wrote 24 files into {tmp_path}"
