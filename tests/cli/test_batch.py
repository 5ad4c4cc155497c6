"""`ds4d batch` as users run it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.data.synthetic import SampleConfig, write_sample

SLOW = {"PIL", "av", "matplotlib", "numba", "numpy", "scipy", "torch", "transformers", "ds4d.cli.commands.generate"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    write_sample(folder, SampleConfig(frames=4, size=48, supersampling=1))
    return folder / "front.mp4"


@pytest.fixture
def videos(video: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(video, folder / f"{name}.mp4")
    (folder / "broken.mp4").write_bytes(video.read_bytes()[:200])
    return folder


def settings(quick: list[str]) -> list[str]:
    """The options of a quick run as those of all rows."""
    return [f"{name[2:]}={value}" for name, value in zip(quick[::2], quick[1::2], strict=True)]


def test_a_folder_with_a_broken_video(ds4d: Callable, quick: list[str], videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["batch", videos, "-o", out, "--jobs", 2, "--price", 2, "--json", "--set", *settings(quick)]
    first = ds4d(*command)
    record = json.loads(first.out)
    assert first.code == 1 and record["result"]["done"] == 2 and record["result"]["failed"] == 1
    assert record["result"]["failures"]["broken"]["cause"] == "invalid input"
    assert record["result"]["dollars"] > 0
    for name in ("a", "b"):
        assert (out / name / "report.html").is_file()
    assert (out / "board.html").read_text().count("<tr>") >= 3
    # The same command again does nothing; with the video repaired, --retry-failed does the rest.
    times = [(out / name / "metrics.json").stat().st_mtime_ns for name in ("a", "b")]
    assert ds4d(*command).code == 1
    shutil.copy(videos / "a.mp4", videos / "broken.mp4")
    again = ds4d(*command, "--retry-failed")
    assert again.code == 0 and json.loads(again.out)["result"]["done"] == 3
    assert times == [(out / name / "metrics.json").stat().st_mtime_ns for name in ("a", "b")]


def test_rows_are_checked_before_any_work(ds4d: Callable, videos: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("input,size\nvideos/a.mp4,64\nvideos/missing.mp4,big\n")
    result = ds4d("batch", manifest, "-o", tmp_path / "out")
    assert result.code == 2 and "row 3" in result.err and "'input'" in result.err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_fits_nothing(ds4d: Callable, videos: Path, tmp_path: Path) -> None:
    result = ds4d("batch", videos, "-o", tmp_path / "out", "--dry-run", "--json")
    assert result.code == 0 and json.loads(result.out)["result"]["waiting"] == 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--jobs", "0"], "--jobs"),
        (["--shard", "3/2"], "--shard"),
        (["--set", "size"], "--set"),
        (["--set", "sise=64"], "sise"),
        (["--timeout", "1"], "--timeout"),
    ],
)
def test_options_that_cannot_be_used(
    ds4d: Callable, videos: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    result = ds4d("batch", videos, "-o", tmp_path / "out", *options)
    assert result.code == 2 and named in result.err


def test_other_outputs_are_left_alone(ds4d: Callable, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    assert ds4d("batch", videos, "-o", tmp_path / "mine").code == 2
    assert ds4d("batch", videos, "-o", tmp_path / "out", "--dry-run").code == 0
    assert ds4d("batch", videos, "-o", tmp_path / "out", "--preset", "cpu", "--dry-run").code == 2


def test_a_row_that_was_done_with_other_options_is_refused(ds4d: Callable, videos: Path, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    manifest.write_text("input,size\nvideos/a.mp4,64\nvideos/b.mp4,64\n")
    assert ds4d("batch", manifest, "-o", out, "--dry-run").code == 0
    record = {"kind": "done", "data": {"digest": "that of another row"}}
    (out / ".batch" / "0000").mkdir()
    (out / ".batch" / "0000" / "a.1").write_text(json.dumps({"kind": "claim"}))
    (out / ".batch" / "0000" / "a.2").write_text(json.dumps(record))
    result = ds4d("batch", manifest, "-o", out)
    assert result.code == 2 and "a must have" in result.err
    assert not (out / "b").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_batch_is_continued(ds4d: Callable, quick: list[str], videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").unlink()
    out = tmp_path / "out"
    words = ["batch", str(videos), "-o", str(out), "--quiet", "--set", *settings(quick)]
    process = subprocess.Popen([sys.executable, "-m", "ds4d", *words])
    end = time.monotonic() + 120
    while not list(out.glob("*/.ds4d-lock")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len([name for name in ("a", "b") if (out / name).exists()]) == 1
    result = ds4d(*words, "--json")
    assert result.code == 0 and json.loads(result.out)["result"]["done"] == 2


def test_a_worker_that_joins_imports_nothing_slow(ds4d: Callable, videos: Path, tmp_path: Path) -> None:
    words = ["batch", str(videos), "-o", str(tmp_path / "out"), "--preset", "tiny", "--set", "size=64"]
    assert ds4d(*words, "--dry-run").code == 0
    code = f"""if True:
        import os, sys
        from ds4d.batch.executors import ProcessExecutor
        from ds4d.cli import main

        def submit(executor, job):
            print(*job.item.options, *{SLOW!r} & set(sys.modules), flush=True)
            os._exit(0)

        ProcessExecutor.submit = submit
        main({words!r})
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # GPUs are counted by torch
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["--preset", "tiny", "--size", "64"]
