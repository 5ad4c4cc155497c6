"""Whose a folder is, and whether a run may go on in it."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ds4d import __version__
from ds4d.config import GenerateConfig
from ds4d.core import Degraded, Warned
from ds4d.deformation import FieldConfig
from ds4d.preprocess import CropBox, Finding, VideoCrop
from ds4d.presets import tiny
from ds4d.runs import EvaluationRecord, Provenance, RunFolder, RunMetrics, RunRecord, read_record

RECORD = RunRecord(Path("/data/creature"), "cpu", tiny())
FIGURES = RunMetrics(
    versions={"ds4d": __version__, "torch": "2.7"},
    provenance=Provenance("inflate (as requested)", "filters", "the visual hull", "off", "off"),
    findings=(Finding("dark", "note", "It is dark.", ""),),
    degradations=(Degraded("lpips", "The weights were not found."),),
    warnings=(Warned("input", "It is dark."),),
    device="cpu, 2 threads",
    frames=2,
    views=7,
    image_size=(48, 32),
    steps=20,
    num_gaussians=300,
    input_psnr=30.5,
    training_psnr=28.0,
    input_psnr_by_frame=(30.5, None),
    seconds={"training": 12.0},
    peak_memory_bytes={"main": 2**30},
    registration={"silhouette_iou": 0.9, "color_error": None, "up_axis": "+z", "offset": [0.0, 1.0, 2.0]},
)
CROP = VideoCrop(CropBox(0, 0, 8, 8, 16, 16), ((1.0, 0.0),), ((1.0, 0.0),))
EVALUATION = EvaluationRecord(
    Path("/data"), "test", 2, {"psnr": 21.0, "iou": None}, {"test0": {"psnr": 21.0, "iou": None}}
)


def test_the_record_says_everything(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "new" / "run")
    folder.check_unused()
    folder.open(RECORD)
    assert read_record(folder.config) == RECORD
    content = json.loads(folder.config.read_text())
    assert content["ds4d"] == __version__ and content["input"] == "/data/creature"
    assert content["config"]["training"]["static_steps"] == tiny().training.static_steps


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    RunFolder(tmp_path).check_unused()


def test_folders_that_hold_something_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"must be a new or empty folder, got one that holds other files"):
        RunFolder(tmp_path).check_unused()
    with pytest.raises(ValueError, match=r"notes\.txt must be a new or empty folder, got a file"):
        RunFolder(tmp_path / "notes.txt").check_unused()
    RunFolder(tmp_path).open(RECORD)
    with pytest.raises(ValueError, match=r"another run.*--resume"):
        RunFolder(tmp_path).check_unused()


@pytest.mark.parametrize(
    "name", [".ds4d-lock", ".ds4d-owner.json", ".ds4d-0a1b2c3d-config.json", ".ds4d-0a1b2c3d-scene.safetensors"]
)
def test_what_a_killed_run_leaves_before_its_record_is_no_obstacle(tmp_path: Path, name: str) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / name).touch()
    folder.video_crop.write_text("{}")
    folder.check_unused()
    folder.clean()
    folder.open(RECORD)
    left = {path.name for path in tmp_path.iterdir()} - {".ds4d-lock", ".ds4d-owner.json"}
    assert left == {"config.json"}, "the crop of another input would be wrong"


@pytest.mark.parametrize("name", [".config-732bf5b9.json", ".ds4d-notes", "ds4d-0a1b2c3d-x", ".ds4d-0a1b2c3d-x/file"])
def test_files_of_the_user_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(ValueError, match="other files"):
        RunFolder(tmp_path).check_unused()
    RunFolder(tmp_path).clean()
    assert path.exists()


def test_the_record_is_written_before_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is interrupted later can be resumed; what is interrupted earlier can be started again."""
    written: list[str] = []
    original = os.replace

    def replace(source: str | Path, target: str | Path) -> None:
        written.append(Path(target).name)
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    RunFolder(tmp_path).open(RECORD, CROP)
    assert written == ["config.json", "video_crop.json"]


def test_a_full_disk_at_the_record_leaves_a_folder_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"config\.json"):
        patch.setattr(Path, "write_text", fail)
        folder.open(RECORD, CROP)
    folder.check_unused()


@pytest.mark.parametrize("name", ["new", "new/deeper/run", "."])
def test_writable_folders_are_left_as_they_were(tmp_path: Path, name: str) -> None:
    RunFolder(tmp_path / name).check_writable()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/run"):
        RunFolder(tmp_path / "file" / "run").check_writable()


def test_a_folder_of_checkpoints_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    with pytest.raises(ValueError, match="checkpoints"):
        RunFolder(tmp_path).check_writable()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no folders")
def test_a_folder_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="/proc/run"):
        RunFolder(Path("/proc/run")).check_writable()


def test_the_same_run_may_go_on_on_another_device(tmp_path: Path) -> None:
    RunFolder(tmp_path).open(RECORD)
    RunFolder(tmp_path).read_resumable(replace(RECORD, device="cuda"))


def test_the_same_run_may_go_on_with_other_images_and_logs(tmp_path: Path) -> None:
    RunFolder(tmp_path).open(RECORD)
    config = replace(tiny(), outputs=replace(tiny().outputs, size=100), log=replace(tiny().log, every=3))
    RunFolder(tmp_path).read_resumable(replace(RECORD, config=config))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(RECORD, input=Path("/elsewhere")), r"input must be that of the run in .*, '/data/creature'"),
        (replace(RECORD, config=replace(tiny(), seed=5)), r"seed must be .*, 0, to resume it, got 5"),
        (replace(RECORD, config=replace(tiny(), field=FieldConfig(width=7))), r"field\.[\w.]+ must be"),
        (replace(RECORD, config=replace(tiny(), field=None)), r"field must be .* got None"),
        (
            replace(RECORD, config=replace(tiny(), training=replace(tiny().training, dynamic_steps=401))),
            rf"training\.dynamic_steps must be .*, {tiny().training.dynamic_steps}, to resume it, got 401",
        ),
    ],
)
def test_another_run_may_not_go_on(tmp_path: Path, other: RunRecord, message: str) -> None:
    RunFolder(tmp_path).open(RECORD)
    with pytest.raises(ValueError, match=message):
        RunFolder(tmp_path).read_resumable(other)


def test_nothing_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold a run to resume, got none\. Leave --resume out"):
        RunFolder(tmp_path).read_resumable(RECORD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "must be an object with keys"),
        ('{"input": "x", "device": "cpu"}', "must hold the keys config"),
        ('{"input": "x", "device": "cpu", "config": {"speed": 3}}', "got speed"),
    ],
)
def test_damaged_records_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"config\.json .*{message}"):
        read_record(tmp_path / "config.json")


def test_a_record_of_an_older_format_names_the_version_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"input": "x", "device": "cpu", "config": {"speed": 3}, "ds4d": "0.1.0"}')
    with pytest.raises(ValueError, match=r"Use ds4d 0\.1\.0"):
        read_record(tmp_path / "config.json")


@pytest.mark.parametrize("writer", [{"ds4d": "0.1.0"}, {}])
def test_runs_of_0_1_are_refused_by_whatever_reads_them(tmp_path: Path, writer: dict[str, str]) -> None:
    """Also where other files of the run would be read first."""
    record = {"input": "/data/creature", "device": "cpu", "config": {"film": {}, "fit": {}, "clip": {}}, **writer}
    folder = RunFolder(tmp_path)
    folder.config.write_text(json.dumps(record))
    folder.scene.write_text('{"format": 1}')
    folder.metrics.write_text('{"front_psnr": 30.0}')
    for read in (folder.check_scene, folder.check_fitted, folder.read_metrics, lambda: folder.read_resumable(RECORD)):
        with pytest.raises(ValueError, match=r"config\.json must .* Use ds4d 0\.1.*generate it again"):
            read()


def test_a_record_of_another_version_that_cannot_be_read_names_it(tmp_path: Path) -> None:
    record = {"input": "x", "device": "cpu", "config": {"speed": 3}, "ds4d": "0.9.1", "format": 2}
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"speed.*0\.9\.1"):
        read_record(tmp_path / "config.json")


def test_settings_of_a_record_are_whole() -> None:
    """A run of today can be made again tomorrow, when defaults may have changed: nothing is left to them."""
    assert set(json.loads(json.dumps(GenerateConfig.__dataclass_fields__, default=str))) == {
        "views", "video", "init", "features", "decoupling", "fusion", "field", "training", "windows",
        "guidance", "outputs", "log", "seed", "checkpoint_every", "checkpoint_seconds",
        "allow_missing_weights",
    }  # fmt: skip


def test_figures_and_scores_come_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(RECORD)
    folder.scene.write_text("{}")
    folder.finish(FIGURES)
    assert folder.read_metrics() == FIGURES
    assert folder.read_evaluation() is None
    folder.write_evaluation(EVALUATION)
    assert folder.read_evaluation() == EVALUATION


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "must hold the keys data, split, images, total, views"),
        ("[1]", "must be an object with keys"),
        ("{", "Expecting property name"),
        (
            '{"data": "/d", "split": "test", "images": 1, "total": {"psnr": 1.0}, "views": {"test0": {}}}',
            r"views\.test0 must hold psnr",
        ),
    ],
)
def test_damaged_scores_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "eval.json").write_text(content)
    with pytest.raises(ValueError, match=rf"eval\.json .*{message}"):
        RunFolder(tmp_path).read_evaluation()


def test_a_run_of_views_has_no_video(finished_run: Path) -> None:
    with pytest.raises(ValueError, match=r"video_crop\.json"):
        RunFolder(finished_run).read_video_crop()


def test_a_damaged_record_of_the_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "video_crop.json").write_text('{"box": 3}')
    with pytest.raises(ValueError, match=r"video_crop\.json"):
        RunFolder(tmp_path).read_video_crop()
