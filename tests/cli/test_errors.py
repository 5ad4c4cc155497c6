"""Errors are one line that names the file or the option; no partial file is left."""

import errno
import json
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.cli.console import Console, ConsoleOptions
from ds4d.cli.errors import run_safely
from ds4d.io import read_rgba, write_png, write_video
from ds4d.scene import DynamicGaussians
from ds4d.training import TrainingDiverged


@pytest.fixture
def data(tmp_path: Path, sample_folder: Path) -> Path:
    """A copy of the sample that a test may damage."""
    return Path(shutil.copytree(sample_folder, tmp_path / "data"))


@pytest.fixture
def stag4d(tmp_path: Path, sample_folder: Path) -> Path:
    """Three frames of the sample in STAG4D's layout."""
    folder = tmp_path / "stag4d"
    for frame in range(3):
        write_png(folder / "ref" / f"{frame}_rgba.png", read_rgba(sample_folder / "front" / f"{frame:03d}.png"))
        for view in range(6):
            image = read_rgba(sample_folder / "mv" / f"mv{view}_{frame:03d}.png")
            write_png(folder / "zero123" / f"{frame}_rgba" / f"{view}.png", image)
    return folder


def edit(name: str, change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Changes a transforms file."""

    def damage(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def edit_frame(change: Callable[[dict], object], index: int = 2) -> Callable[[Path], object]:
    return edit("transforms_mv.json", lambda content: change(content["frames"][index]))


def mirror(frame: dict) -> None:
    frame["transform_matrix"] = [[-row[0], *row[1:]] for row in frame["transform_matrix"]]


def check_refused(done, run: Path, *parts: str) -> None:
    """The command failed with one line that holds `parts`, and wrote no run."""
    assert done.code == 2
    lines = [line for line in done.err.splitlines() if line.startswith("ds4d: error: ")]
    assert len(lines) == 1 and "Traceback" not in done.err
    for part in parts:
        assert part in lines[0]
    assert done.out == "" and not run.exists()


TRANSFORMS_FAULTS = {
    "missing image": (lambda d: (d / "mv/mv1_003.png").unlink(), ["mv1_003.png"]),
    "truncated image": (
        lambda d: (d / "mv/mv1_003.png").write_bytes((d / "mv/mv1_003.png").read_bytes()[:200]),
        ["mv1_003.png", "image"],
    ),
    "text as image": (lambda d: (d / "front/000.png").write_text("hello"), ["000.png", "image"]),
    "another size": (
        lambda d: write_png(d / "mv/mv2_001.png", np.full((24, 24, 4), 255, np.uint8)),
        ["mv2_001.png", "24 x 24"],
    ),
    "empty mask": (
        lambda d: write_png(d / "mv/mv0_002.png", np.zeros((48, 48, 4), np.uint8)),
        ["mv0_002.png", "empty mask"],
    ),
    "full mask": (
        lambda d: Image.open(d / "front/003.png").convert("RGB").save(d / "front/003.png"),
        ["003.png", "transparent background"],
    ),
    "no time": (edit_frame(lambda frame: frame.pop("time")), ["transforms_mv.json", "frames[2]", "'time'"]),
    "time in seconds": (edit_frame(lambda frame: frame.update(time=3.5)), ["frames[2].time"]),
    "NaN in a matrix": (
        edit_frame(lambda frame: frame["transform_matrix"][0].__setitem__(3, float("nan"))),
        ["transforms_mv.json", "frames[2]", "finite"],
    ),
    "mirrored axes": (edit_frame(mirror), ["transforms_mv.json", "frames[2]", "reflection"]),
    "path that leads out": (edit_frame(lambda f: f.update(image="../secret.png")), ["frames[2]", "without '..'"]),
    "no frames": (edit("transforms_front.json", lambda content: content["frames"].clear()), ["transforms_front.json"]),
    "no JSON": (lambda d: (d / "transforms_mv.json").write_text("{,"), ["transforms_mv.json", "JSON"]),
    "no such split": (lambda d: (d / "transforms_mv.json").unlink(), ["transforms_mv.json"]),
}


@pytest.mark.parametrize("name", TRANSFORMS_FAULTS)
def test_damaged_transforms_folders(ds4d: Callable, quick: list[str], data: Path, tmp_path: Path, name: str) -> None:
    damage, parts = TRANSFORMS_FAULTS[name]
    damage(data)
    check_refused(
        ds4d("generate", data, "-o", tmp_path / "run", "--splits", "front", "mv", *quick), tmp_path / "run", *parts
    )


STAG4D_FAULTS = {
    "gap in the numbers": (lambda d: (d / "ref/1_rgba.png").rename(d / "ref/5_rgba.png"), ["ref", "gaps"]),
    "frames of one view missing": (
        lambda d: (d / "zero123/2_rgba/4.png").unlink(),
        ["2_rgba/4.png"],
    ),
    "view of a frame that is not there": (lambda d: (d / "ref/2_rgba.png").unlink(), ["2_rgba"]),
    "no frames": (lambda d: [path.unlink() for path in (d / "ref").iterdir()], ["ref"]),
}


@pytest.mark.parametrize("name", STAG4D_FAULTS)
def test_damaged_stag4d_folders(ds4d: Callable, quick: list[str], stag4d: Path, tmp_path: Path, name: str) -> None:
    damage, parts = STAG4D_FAULTS[name]
    damage(stag4d)
    check_refused(ds4d("generate", stag4d, "-o", tmp_path / "run", *quick), tmp_path / "run", *parts)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config", "absent.json"], "absent.json"),
        (["--config", "absent.json", "--preset", "cpu"], "--config"),
        (["--splits", "front", "--rig", "stag4d.json"], "--rig"),
        (["--init.method", "points"], "file"),
        (["--init", "absent.glb"], "absent.glb"),
        (["--init", "mesh.fbx"], "mesh.fbx"),
        (["--size", "16"], "16 x 16"),
        (["--resume"], "resume"),
    ],
)
def test_options_that_the_input_contradicts(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, argv: list[str], message: str
) -> None:
    options = [word for word in quick if word not in ("--preset", "tiny")]
    check_refused(ds4d("generate", sample_folder, "-o", tmp_path / "run", *options, *argv), tmp_path / "run", message)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--init.hull.resolution", "0"], "--init.hull.resolution must"),
        (["--size", "-3"], "--size must"),
        (["--start", "1", "--end", "0.5"], "--end must"),
        (["--fps", "abc"], "--fps must"),
        (["--training.low-resolution-fraction", "half"], "--training.low-resolution-fraction must"),
        (["--training.densificaton.every", "3"], "--training.densification.every?"),
        (["--preset", "huge"], "--preset must"),
    ],
)
def test_errors_name_the_option(ds4d: Callable, tmp_path: Path, argv: list[str], message: str) -> None:
    done = ds4d("generate", tmp_path, "-o", tmp_path / "run", "--device", "cpu", *argv)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert not re.search(r"Config|class|NoneType|Traceback", done.err)
    assert not (tmp_path / "run").exists()


def test_missing_inputs_are_refused(ds4d: Callable, quick: list[str], tmp_path: Path) -> None:
    check_refused(ds4d("generate", tmp_path / "absent", "-o", tmp_path / "run", *quick), tmp_path / "run", "absent")


def test_outputs_with_another_run_are_refused(
    ds4d: Callable, quick: list[str], finished_run: Path, sample_folder: Path
) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in finished_run.iterdir())
    done = ds4d("generate", sample_folder, "-o", finished_run, *quick)
    assert done.code == 2 and str(finished_run) in done.err
    done = ds4d("generate", sample_folder, "-o", finished_run, "--resume", *quick)
    assert done.code == 2 and str(finished_run) in done.err
    assert sorted((path.name, path.stat().st_mtime_ns) for path in finished_run.iterdir()) == before


def test_missing_cuda_is_an_error(
    ds4d: Callable, sample_folder: Path, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    argv = ["--preset", "tiny", "--device", "cuda"]
    check_refused(ds4d("generate", sample_folder, "-o", tmp_path / "run", *argv), tmp_path / "run", "CUDA")
    done = ds4d("render", finished_run, "--orbit", "-o", tmp_path / "o.mp4", "--device", "cuda")
    assert done.code == 2 and "CUDA" in done.err


@pytest.mark.parametrize("argv", [["render", "--orbit", "-o", "o.mp4"], ["eval", "--data", "x"], ["export", "-o", "x"]])
def test_a_folder_without_a_run_is_refused(ds4d: Callable, tmp_path: Path, argv: list[str]) -> None:
    done = ds4d(argv[0], tmp_path, *argv[1:])
    assert done.code == 2
    assert str(tmp_path / "scene.json") in done.err


def test_images_outside_the_output_folder_are_refused(
    ds4d: Callable, finished_run: Path, data: Path, tmp_path: Path
) -> None:
    for name in ("../outside", "/tmp/outside", "a/../../outside"):
        edit("transforms_test.json", lambda content, name=name: content["frames"][5].update(file_path=name))(data)
        done = ds4d("render", finished_run, "--transforms", data / "transforms_test.json", "-o", tmp_path / "out")
        check_refused(done, tmp_path / "out", "transforms_test.json: frames[5].file_path", "without '..'")


def test_images_of_the_same_name_are_refused(ds4d: Callable, finished_run: Path, data: Path, tmp_path: Path) -> None:
    edit("transforms_test.json", lambda content: content["frames"][5].update(file_path="test/test0_000"))(data)
    done = ds4d("render", finished_run, "--transforms", data / "transforms_test.json", "-o", tmp_path / "out")
    check_refused(done, tmp_path / "out", "file_path", "'test/test0_000'")


def printed_for(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def fail() -> None:
        raise error

    with Console("render", ConsoleOptions()) as console:
        code = console.print_result(run_safely(fail))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (ValueError("size must be\n  even"), 2, ["size must be even"]),
        (ImportError("needs av"), 2, ["needs av"]),
        (TrainingDiverged(7, {"l1": float("nan")}), 1, ["l1", "step 7"]),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to"), 1, ["GPU memory", "--size", "--device"]),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nSearch"), 1, ["MPS", "--jobs"]),
        (OSError(errno.ENOSPC, "No space left on device", "/run/scene.json"), 1, ["/run/scene.json", "No space left"]),
        (PermissionError(errno.EACCES, "Permission denied", "/run"), 2, ["/run", "Permission denied"]),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), 2, ["/tmp", "TMPDIR"]),
        (OSError(errno.EROFS, "Read-only file system", "/run"), 2, ["/run", "Read-only file system"]),
        (KeyboardInterrupt(), 130, ["Ctrl-C"]),
        (SystemExit(143), 143, ["SIGTERM"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, parts: list[str]
) -> None:
    got, err = printed_for(error, capsys)
    assert got == code and err.startswith("ds4d: error: ") and err.count("\n") == 1
    assert all(part in err for part in parts)


def test_internal_errors_have_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = printed_for(RuntimeError("a bug"), capsys)
    assert code == 1 and err.startswith("Traceback") and "in fail" in err
    assert "RuntimeError: a bug" in err.splitlines()[-1]


@pytest.mark.parametrize("allocate", [lambda: np.empty(10**17), lambda: torch.empty(10**15)], ids=["numpy", "torch"])
def test_too_little_memory_is_no_internal_error(allocate: Callable[[], Any]) -> None:
    outcome = run_safely(allocate)
    assert outcome is not None and outcome.exit_code == 1
    assert "memory" in outcome.error and "--device" not in outcome.error


@pytest.mark.parametrize("writer", ["image", "video", "scene"])
def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, finished_run: Path, writer: str) -> None:
    """A limit on the size of files stands in for a full disk."""
    rng = np.random.default_rng(0)
    scene = DynamicGaussians.load(finished_run)
    noise = rng.integers(0, 255, (64, 64, 3), np.uint8)

    def write() -> None:
        if writer == "image":
            write_png(tmp_path / "image.png", noise)
        elif writer == "video":
            write_video(tmp_path / "video.mp4", [noise] * 12, 12.0)
        else:
            scene.save(tmp_path)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        outcome = run_safely(write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome is not None and outcome.exit_code == 1 and "cannot be written" in outcome.error
    assert not list(tmp_path.iterdir())


def test_an_output_below_a_file_is_refused(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = ds4d("generate", sample_folder, "-o", tmp_path / "file" / "run", *quick)
    assert done.code == 2 and str(tmp_path / "file") in done.err and "Traceback" not in done.err


def test_warnings_are_lines(ds4d: Callable, quick: list[str], stag4d: Path, tmp_path: Path) -> None:
    shutil.rmtree(stag4d / "zero123")
    done = ds4d("generate", stag4d, "-o", tmp_path / "run", "--views", "folder", *quick)
    assert done.code == 0
    warnings = [line for line in done.err.splitlines() if "warning" in line]
    assert len(set(warnings)) == 2 and all(line.startswith(f"ds4d: warning: {stag4d} ") for line in warnings)
