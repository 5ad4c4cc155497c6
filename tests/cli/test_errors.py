"""What is wrong is said in one line that names the file and the mend; nothing half-written stays."""

import errno
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.cli.errors import attempt
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.io import read_rgba, write_png, write_video
from ds4d.scene import DynamicGaussians
from ds4d.training import TrainingDiverged


@pytest.fixture
def data(tmp_path: Path, sample_folder: Path) -> Path:
    """The sample as files that may be spoilt."""
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

    def spoil(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def edit_frame(change: Callable[[dict], object], index: int = 2) -> Callable[[Path], object]:
    return edit("transforms_mv.json", lambda content: change(content["frames"][index]))


def mirror(frame: dict) -> None:
    frame["transform_matrix"] = [[-row[0], *row[1:]] for row in frame["transform_matrix"]]


def refuse(outcome, run: Path, *parts: str) -> None:
    """The outcome is one line that holds `parts`, and no folder of a run."""
    assert outcome.status == 2
    lines = [line for line in outcome.err.splitlines() if line.startswith("ds4d: error: ")]
    assert len(lines) == 1 and "Traceback" not in outcome.err
    for part in parts:
        assert part in lines[0]
    assert outcome.out == "" and not run.exists()


TRANSFORMS_FAULTS = {
    "missing image": (lambda d: (d / "mv/mv1_003.png").unlink(), ["mv1_003.png", "must be a file"]),
    "truncated image": (
        lambda d: (d / "mv/mv1_003.png").write_bytes((d / "mv/mv1_003.png").read_bytes()[:200]),
        ["mv1_003.png", "must be a whole image file"],
    ),
    "text as image": (lambda d: (d / "front/000.png").write_text("hello"), ["000.png", "must be a whole image file"]),
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
    "time in seconds": (edit_frame(lambda frame: frame.update(time=3.5)), ["frames[2].time must lie in [0, 1]"]),
    "NaN in a matrix": (
        edit_frame(lambda frame: frame["transform_matrix"][0].__setitem__(3, float("nan"))),
        ["transforms_mv.json", "frames[2]", "must be finite"],
    ),
    "mirrored axes": (edit_frame(mirror), ["transforms_mv.json", "frames[2]", "must not mirror"]),
    "path that leads out": (edit_frame(lambda f: f.update(image="../secret.png")), ["frames[2]", "without '..'"]),
    "no frames": (edit("transforms_front.json", lambda content: content["frames"].clear()), ["at least one frame"]),
    "no JSON": (lambda d: (d / "transforms_mv.json").write_text("{,"), ["transforms_mv.json", "valid JSON"]),
    "no such split": (lambda d: (d / "transforms_mv.json").unlink(), ["transforms_mv.json", "nothing there"]),
}


@pytest.mark.parametrize("name", TRANSFORMS_FAULTS)
def test_spoilt_transforms_folders(ds4d: Callable, quick: list[str], data: Path, tmp_path: Path, name: str) -> None:
    spoil, parts = TRANSFORMS_FAULTS[name]
    spoil(data)
    refuse(ds4d("generate", data, "-o", tmp_path / "run", "--splits", "front", "mv", *quick), tmp_path / "run", *parts)


STAG4D_FAULTS = {
    "gap in the numbers": (lambda d: (d / "ref/1_rgba.png").rename(d / "ref/5_rgba.png"), ["must have no gaps"]),
    "frames of one view missing": (
        lambda d: (d / "zero123/2_rgba/4.png").unlink(),
        ["2_rgba/4.png", "is missing"],
    ),
    "view of a frame that is not there": (lambda d: (d / "ref/2_rgba.png").unlink(), ["2_rgba has no front frame"]),
    "no frames": (lambda d: [path.unlink() for path in (d / "ref").iterdir()], ["must hold frames named"]),
}


@pytest.mark.parametrize("name", STAG4D_FAULTS)
def test_spoilt_stag4d_folders(ds4d: Callable, quick: list[str], stag4d: Path, tmp_path: Path, name: str) -> None:
    spoil, parts = STAG4D_FAULTS[name]
    spoil(stag4d)
    refuse(ds4d("generate", stag4d, "-o", tmp_path / "run", *quick), tmp_path / "run", *parts)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "absent.json"], "absent.json must be the config.json of a run"),
        (["--config", "absent.json", "--preset", "cpu"], "--config must stand alone"),
        (["--splits", "front", "--rig", "stag4d.json"], "--rig must not be given"),
        (["--init.method", "points"], "init: file must name a mesh or point cloud"),
        (["--init", "absent.glb"], "init file absent.glb must exist, got none"),
        (["--init", "mesh.fbx"], "init file mesh.fbx must be a PLY, OBJ or GLB file, got '.fbx'"),
        (["--size", "16"], "images must be at least 22 pixels wide and high, got 16 x 16"),
        (["--resume"], "must hold a run to resume, got none"),
    ],
)
def test_options_that_do_not_fit(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    options = [word for word in quick if word not in ("--preset", "tiny")]
    refuse(ds4d("generate", sample_folder, "-o", tmp_path / "run", *options, *words), tmp_path / "run", message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--init.hull.resolution", "0"], "resolution must be"),
        (["--training.low-resolution", "half"], "--training.low-resolution"),
        (["--preset", "huge"], "'huge'"),
    ],
)
def test_values_that_do_not_fit(ds4d: Callable, tmp_path: Path, words: list[str], message: str) -> None:
    outcome = ds4d("generate", tmp_path, "-o", tmp_path / "run", "--device", "cpu", *words)
    assert outcome.status == 2 and message in outcome.err and "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


def test_input_that_is_no_folder(ds4d: Callable, quick: list[str], tmp_path: Path) -> None:
    refuse(ds4d("generate", tmp_path / "absent", "-o", tmp_path / "run", *quick), tmp_path / "run", "got nothing there")


def test_output_that_holds_another_run(
    ds4d: Callable, quick: list[str], finished_run: Path, sample_folder: Path
) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in finished_run.iterdir())
    outcome = ds4d("generate", sample_folder, "-o", finished_run, *quick)
    assert outcome.status == 2 and "holds another run" in outcome.err
    outcome = ds4d("generate", sample_folder, "-o", finished_run, "--resume", *quick)
    assert outcome.status == 2 and "must be that of the run in" in outcome.err
    assert sorted((path.name, path.stat().st_mtime_ns) for path in finished_run.iterdir()) == before


def test_cuda_asked_for_and_absent(
    ds4d: Callable, sample_folder: Path, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["--preset", "tiny", "--device", "cuda"]
    refuse(ds4d("generate", sample_folder, "-o", tmp_path / "run", *words), tmp_path / "run", "finds no CUDA device")
    outcome = ds4d("render", finished_run, "--orbit", "-o", tmp_path / "o.mp4", "--device", "cuda")
    assert outcome.status == 2 and "finds no CUDA device" in outcome.err


@pytest.mark.parametrize(
    "words", [["render", "--orbit", "-o", "o.mp4"], ["eval", "--data", "x"], ["export", "-o", "x"]]
)
def test_what_is_no_run_is_named(ds4d: Callable, tmp_path: Path, words: list[str]) -> None:
    outcome = ds4d(words[0], tmp_path, *words[1:])
    assert outcome.status == 2
    assert f"{tmp_path / 'scene.json'} must exist, got none. Give the output folder" in outcome.err


def test_images_that_would_land_outside_are_refused(
    ds4d: Callable, finished_run: Path, data: Path, tmp_path: Path
) -> None:
    for name in ("../outside", "/tmp/outside", "a/../../outside"):
        edit("transforms_test.json", lambda content, name=name: content["frames"][5].update(file_path=name))(data)
        outcome = ds4d("render", finished_run, "--transforms", data / "transforms_test.json", "-o", tmp_path / "out")
        refuse(outcome, tmp_path / "out", "transforms_test.json: frames[5].file_path", "without '..'")


def test_images_that_would_overwrite_each_other_are_refused(
    ds4d: Callable, finished_run: Path, data: Path, tmp_path: Path
) -> None:
    edit("transforms_test.json", lambda content: content["frames"][5].update(file_path="test/test0_000"))(data)
    outcome = ds4d("render", finished_run, "--transforms", data / "transforms_test.json", "-o", tmp_path / "out")
    refuse(outcome, tmp_path / "out", "file_path must differ", "'test/test0_000' twice")


def screen_of(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def fail() -> None:
        raise error

    with Screen("render", ScreenOptions()) as screen:
        status = screen.answer(attempt(fail))
    return status, capsys.readouterr().err


def test_each_kind_of_error_has_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert screen_of(ValueError("size must be\n  even"), capsys) == (2, "ds4d: error: size must be even\n")
    assert screen_of(ImportError("needs av"), capsys) == (2, "ds4d: error: needs av\n")
    status, line = screen_of(TrainingDiverged(7, {"l1": float("nan")}), capsys)
    assert status == 1 and "l1 must be finite, got NaN or Inf at step 7" in line
    status, line = screen_of(torch.OutOfMemoryError("CUDA out of memory.\nTried to"), capsys)
    assert status == 1 and "the GPU has too little free memory" in line and "a smaller --size" in line
    status, line = screen_of(OSError(errno.ENOSPC, "No space left on device", "/run/scene.json"), capsys)
    assert status == 1 and "no room to write /run/scene.json (No space left on device). Free some" in line
    status, line = screen_of(PermissionError(errno.EACCES, "Permission denied", "/run"), capsys)
    assert status == 2 and "/run cannot be used: Permission denied" in line
    status, line = screen_of(OSError(errno.EROFS, "Read-only file system", "/run"), capsys)
    assert status == 2 and "/run cannot be used: Read-only file system. Name another" in line
    status, text = screen_of(RuntimeError("our own bug"), capsys)
    assert status == 1 and text.startswith("Traceback") and "in fail" in text
    assert text.splitlines()[-1].startswith("ds4d: error: a fault of ds4d, RuntimeError: our own bug. Please report")
    assert screen_of(KeyboardInterrupt(), capsys) == (130, "ds4d: error: stopped by Ctrl-C\n")
    assert screen_of(SystemExit(143), capsys) == (143, "ds4d: error: stopped by SIGTERM\n")


@pytest.mark.parametrize("take", [lambda: np.empty(10**17), lambda: torch.empty(10**15)], ids=["numpy", "torch"])
def test_a_machine_that_is_too_small_is_no_fault_of_ours(take: Callable[[], Any]) -> None:
    outcome = attempt(take)
    assert outcome is not None and outcome.exit_code == 1
    assert outcome.error.startswith("the machine has too little free memory.") and "--device" not in outcome.error


@pytest.mark.parametrize("writer", ["image", "video", "scene"])
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path, finished_run: Path, writer: str) -> None:
    """Files may not grow beyond a few bytes in this process for a moment, as on a full disk."""
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
        outcome = attempt(write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome is not None and outcome.exit_code == 1 and "no room to write" in outcome.error
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    outcome = ds4d("generate", sample_folder, "-o", tmp_path / "file" / "run", *quick)
    assert outcome.status == 2 and str(tmp_path / "file") in outcome.err and "Traceback" not in outcome.err


def test_warnings_are_one_line(ds4d: Callable, quick: list[str], stag4d: Path, tmp_path: Path) -> None:
    shutil.rmtree(stag4d / "zero123")
    outcome = ds4d("generate", stag4d, "-o", tmp_path / "run", "--views", "folder", *quick)
    assert outcome.status == 0
    assert [line for line in outcome.err.splitlines() if "warning" in line] == [
        f"ds4d: warning: {stag4d} has no folder zero123: only its input view is used.",
        f"ds4d: warning: {stag4d} has one static view: the other sides of the object are unknown.",
    ]
