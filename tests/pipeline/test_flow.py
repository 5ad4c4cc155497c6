"""The whole flow: what it yields and writes, how it is interrupted and resumed, and that bad input leaves nothing."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d import __version__
from ds4d.config import GenerateConfig
from ds4d.core import Degraded, Warned, notices_to, with_overrides
from ds4d.data import load_views
from ds4d.data.synthetic import SampleConfig, sample_video
from ds4d.evaluation import score_training_views
from ds4d.io import read_rgba, write_png
from ds4d.multiview import ViewsConfig
from ds4d.pipeline import Event, FileWritten, Finished, StageStarted, extract_frame_features, iter_run, prepare, results
from ds4d.preprocess import VideoConfig, inspect_video
from ds4d.rendering import renderer_for
from ds4d.runs import RunFolder, read_record
from ds4d.scene import DynamicGaussians
from ds4d.training import StepDone, TrainingDiverged, read_log
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def short(quick_config: GenerateConfig) -> GenerateConfig:
    """Twenty steps with growth after each sixth, checkpoints after each eighth, and hardly any images."""
    density = replace(quick_config.training.densification, every=6, start=0.0, stop=1.0)
    return replace(
        quick_config,
        training=replace(quick_config.training, static_steps=4, dynamic_steps=16, densification=density),
        outputs=replace(quick_config.outputs, size=16, seconds=0.2, sheet_columns=1, sheet_size=16),
        log=replace(quick_config.log, every=2),
        checkpoint_every=8,
    )


def stop_after(step: int, *arguments, **options) -> None:
    """Runs the pipeline until a step is done, and closes it."""
    events = iter_run(*arguments, **options)
    for event in events:
        if isinstance(event, StepDone) and event.step == step:
            events.close()


@dataclass(frozen=True)
class Whole:
    """A run of `short` on the sample that nothing interrupted: its folder, not to be written into, and its events."""

    folder: Path
    events: list[Event]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, short: GenerateConfig) -> Whole:
    folder = tmp_path_factory.mktemp("whole") / "run"
    return Whole(folder, list(iter_run(sample_folder, folder, config=short, device="cpu")))


@pytest.fixture(scope="module")
def stopped_runs(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, short: GenerateConfig) -> Path:
    """Runs of `short` on the sample, each stopped after the step that its folder is named after."""
    folder = tmp_path_factory.mktemp("stopped")
    for step in (3, 11):
        stop_after(step, sample_folder, folder / str(step), config=short, device="cpu")
    return folder


@pytest.fixture
def stopped(stopped_runs: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Makes a copy of a run of `short` on the sample that was stopped after step 3 or 11."""
    return lambda step: Path(shutil.copytree(stopped_runs / str(step), tmp_path / "stopped"))


def test_events_tell_the_stages_in_order(whole: Whole) -> None:
    events = whole.events
    stages = [event.name for event in events if isinstance(event, StageStarted)]
    assert stages == ["views", "features", "init", "training", "evaluate", "outputs"]
    assert sum(isinstance(event, StepDone) for event in events) == 20
    written = [event.path for event in events if isinstance(event, FileWritten)]
    assert written[-1].name == "report.html"
    kinds = {".mp4", ".png", ".ply", ".html", ".safetensors"}
    assert {path.suffix for path in written} == kinds and all(path.is_file() for path in written)
    assert {"saliency.mp4", "saliency.png"} <= {path.name for path in written}
    assert isinstance(events[-1], Finished)
    assert events[-1].metrics == RunFolder(whole.folder).read_metrics()


def test_metrics_describe_the_run(finished_run: Path, sample_folder: Path, quick_config: GenerateConfig) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert (metrics["frames"], metrics["views"], metrics["image_size"]) == (6, 7, [48, 48])
    assert metrics["steps"] == quick_config.training.total_steps
    assert set(metrics["seconds"]) == {"views", "features", "init", "training", "evaluate", "outputs"}
    assert metrics["peak_memory_bytes"]["main"] > 100e6
    assert metrics["versions"]["ds4d"] == __version__ and metrics["versions"]["torch"] == torch.__version__
    assert metrics["provenance"] == {
        "views": "7 views of the folder",
        "features": "filters",
        "init": "the visual hull",
        "lpips": "off",
        "sds": "off",
    }
    assert metrics["findings"] is None, "only videos are checked"
    scene = DynamicGaussians.load(finished_run)
    assert metrics["num_gaussians"] == scene.gaussians.num_gaussians
    placed = prepare(load_views(sample_folder, quick_config.views), quick_config, CPU).video
    scores = score_training_views(scene, renderer_for("cpu"), placed)
    assert metrics["input_psnr"] == pytest.approx(float(scores[0]), abs=1e-3)
    assert metrics["training_psnr"] == pytest.approx(float(scores.mean()), abs=1e-3)
    assert len(metrics["input_psnr_by_frame"]) == 6
    assert sum(metrics["input_psnr_by_frame"]) / 6 == pytest.approx(metrics["input_psnr"], abs=1e-3)


def test_what_was_found_in_a_video_is_kept(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    video, config = sample_folder / "front.mp4", replace(short, views=ViewsConfig(size=48))
    events = list(iter_run(video, tmp_path / "run", config=config, device="cpu"))
    assert [event.part for event in events if isinstance(event, Warned)] == ["input"]
    findings = json.loads((tmp_path / "run" / "metrics.json").read_text())["findings"]
    assert findings == [asdict(finding) for finding in inspect_video(video, VideoConfig(size=48)).findings] != []
    assert "There are only 6 frames" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_pyav")
def test_without_pyav_a_run_ends_with_stills(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    events = list(iter_run(sample_folder, tmp_path / "run", config=short, device="cpu"))
    degraded = [event for event in events if isinstance(event, Degraded)]
    assert {event.part for event in degraded} == {"outputs"}
    assert {event.message.split()[0] for event in degraded} >= {"saliency.mp4", "orbit.mp4"}
    assert RunFolder(tmp_path / "run").read_metrics().degradations == tuple(degraded)
    assert isinstance(events[-1], Finished) and not list((tmp_path / "run").glob("*.mp4"))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "comparison.mp4 is not in the folder of the run" in page
    assert "<video" not in page and page.count("<img") == 5  # the saliency map, the contact sheet, three curves


def test_losses_are_logged(finished_run: Path, quick_config: GenerateConfig) -> None:
    steps = [entry["step"] for entry in read_log(finished_run / "log.jsonl")]
    assert steps == list(range(10, quick_config.training.total_steps + 1, 10))


def test_the_record_makes_the_run_again(finished_run: Path, sample_folder: Path, quick_config: GenerateConfig) -> None:
    record = read_record(finished_run / "config.json")
    assert (record.input, record.device, record.config) == (sample_folder.resolve(), "cpu", quick_config)
    assert (record.views_source, record.features_kind) == ("folder", "filters")


@pytest.mark.parametrize("stop", [3, 11])
def test_an_interrupted_run_goes_on_to_the_same_scene(
    whole: Whole, stopped: Callable[[int], Path], sample_folder: Path, short: GenerateConfig, stop: int
) -> None:
    """Bit for bit, with density events on both sides of the interruption."""
    broken = stopped(stop)
    assert (broken / "checkpoints" / "last.safetensors").is_file()
    assert not (broken / "metrics.json").exists()
    events = list(iter_run(sample_folder, broken, config=short, device="cpu", resume=True))
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(stop + 1, 21))
    for name in ("scene.safetensors", "scene.json"):
        assert (broken / name).read_bytes() == (whole.folder / name).read_bytes()
    for ours, theirs in zip(read_log(broken / "log.jsonl"), read_log(whole.folder / "log.jsonl"), strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


@pytest.mark.parametrize("stage", ["views", "features", "init", "training"])
def test_a_run_that_is_stopped_before_its_first_step_leaves_nothing(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, stage: str
) -> None:
    events = iter_run(sample_folder, tmp_path / "run", config=short, device="cpu")
    for event in events:
        if event == StageStarted(stage):
            events.close()
    assert not (tmp_path / "run").exists()


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig
) -> None:
    events = iter_run(sample_folder, tmp_path / "run", config=short, device="cpu")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.safetensors"
    for event in events:
        if isinstance(event, StepDone) and event.step == 10:
            kept = checkpoint.read_bytes()  # of step 8
            events.close()
    checkpoint.write_bytes(kept)
    resumed = list(iter_run(sample_folder, tmp_path / "run", config=short, device="cpu", resume=True))
    assert [event.step for event in resumed if isinstance(event, StepDone)] == list(range(9, 21))
    assert [entry["step"] for entry in read_log(tmp_path / "run" / "log.jsonl")] == list(range(2, 21, 2))


@pytest.mark.parametrize("seconds", [None, 1e-6])
def test_checkpoints_may_be_written_by_time(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, seconds: float | None
) -> None:
    """They are rarer than asked for where they would take most of the time; the next one comes by steps."""
    config = replace(short, checkpoint_seconds=seconds)
    events = iter_run(sample_folder, tmp_path / "run", config=config, device="cpu")
    next(event for event in events if isinstance(event, StepDone))
    checkpoint = RunFolder(tmp_path / "run").checkpoint
    assert checkpoint.exists() == (seconds is not None)
    first = checkpoint.stat().st_ino if seconds else None
    assert next(event for event in events if isinstance(event, StepDone)).step == 2
    assert first is None or checkpoint.stat().st_ino == first
    events.close()


def test_a_run_keeps_others_out_of_its_folder(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first stage on, when nothing is in the folder yet, and also one that resumes it."""
    monkeypatch.setattr("ds4d.runs.lock._PATIENCE", 0.0)
    run = tmp_path / "run"
    waiting = iter_run(sample_folder, run, config=short, device="cpu")  # checked, but not begun
    first = iter_run(sample_folder, run, config=short, device="cpu")
    for event in first:
        if event == StageStarted("views") or (isinstance(event, StepDone) and event.step == 3):
            for resume in (False, True):
                with pytest.raises(ValueError, match=f"run must not be in use.* process {os.getpid()} on "):
                    iter_run(sample_folder, run, config=short, device="cpu", resume=resume)
        if isinstance(event, StepDone) and event.step == 3:
            with pytest.raises(ValueError, match="in use"):
                next(waiting)
            first.close()
    events = list(iter_run(sample_folder, run, config=short, device="cpu", resume=True))
    assert isinstance(events[-1], Finished)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


def test_a_run_that_came_and_went_before_the_first_event_is_not_overwritten(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig
) -> None:
    waiting = iter_run(sample_folder, tmp_path / "run", config=short, device="cpu")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    with pytest.raises(ValueError, match="another run"):
        next(waiting)


def test_leftovers_of_a_killed_run_are_removed(
    stopped: Callable[[int], Path], sample_folder: Path, short: GenerateConfig
) -> None:
    run = stopped(3)
    left = [run / ".ds4d-0a1b2c3d-scene.safetensors", run / "checkpoints" / ".ds4d-0a1b2c3d-last.safetensors"]
    mine = [run / ".notes", run / "checkpoints" / "mine.safetensors"]
    for path in (*left, *mine):
        path.touch()
    list(iter_run(sample_folder, run, config=short, device="cpu", resume=True))
    assert not any(path.exists() for path in left) and all(path.exists() for path in mine)


def test_a_damaged_checkpoint_costs_a_few_steps(
    whole: Whole, stopped: Callable[[int], Path], sample_folder: Path, short: GenerateConfig
) -> None:
    """The run ends as the one that was not interrupted, and its record says what happened."""
    broken = stopped(11)
    last = broken / "checkpoints" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    events = list(iter_run(sample_folder, broken, config=short, device="cpu", resume=True))
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(9, 21))
    assert [warned.part for warned in RunFolder(broken).read_metrics().warnings] == ["checkpoint"]
    for name in ("scene.safetensors", "baked.safetensors"):
        assert (broken / name).read_bytes() == (whole.folder / name).read_bytes()
    for ours, theirs in zip(read_log(broken / "log.jsonl"), read_log(whole.folder / "log.jsonl"), strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


def test_a_video_goes_on_with_the_views_it_began_with(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig
) -> None:
    """Whatever generator would be the best at hand where it goes on."""
    video, config, run = sample_folder / "front.mp4", replace(short, views=ViewsConfig(size=48)), tmp_path / "run"
    stop_after(3, video, run, config=config, device="cpu")
    record = read_record(run / "config.json")
    assert (record.config.views.source, record.views_source) == ("auto", "lift")
    RunFolder(run).open(replace(record, views_source="zero123plus"))
    with pytest.raises(ValueError, match="hf download"):
        list(iter_run(video, run, config=config, device="cpu", resume=True))


def test_a_finished_run_has_nothing_left_to_do(run: Path, sample_folder: Path, quick_config: GenerateConfig) -> None:
    before = (run / "scene.safetensors").stat().st_mtime_ns
    events = list(iter_run(sample_folder, run, config=quick_config, device="cpu", resume=True))
    assert events == [Finished(RunFolder(run).read_metrics())]
    (run / "report.html").unlink()  # as after an interruption just before the end
    events = list(iter_run(sample_folder, run, config=quick_config, device="cpu", resume=True))
    assert [type(event) for event in events] == [FileWritten, Finished] and (run / "report.html").is_file()
    assert (run / "scene.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_is_whole_without_its_page(run: Path, sample_folder: Path, quick_config: GenerateConfig) -> None:
    (run / "report.html").unlink()
    (run / "eval.json").write_text("{}")
    events = list(iter_run(sample_folder, run, config=quick_config, device="cpu", resume=True))
    assert [(type(event), getattr(event, "part", None)) for event in events] == [(Degraded, "report"), (Finished, None)]


def test_a_new_run_is_whole_without_its_page(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: RunFolder) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder.report))

    monkeypatch.setattr(results, "write_report", fail)
    events = list(iter_run(sample_folder, tmp_path / "run", config=short, device="cpu"))
    assert isinstance(events[-1], Finished) and (tmp_path / "run" / "metrics.json").is_file()
    assert isinstance(events[-2], Degraded) and "No space left on device" in events[-2].message


def test_damaged_figures_are_named(run: Path, sample_folder: Path, quick_config: GenerateConfig) -> None:
    (run / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json"):
        list(iter_run(sample_folder, run, config=quick_config, device="cpu", resume=True))


def test_another_run_is_neither_overwritten_nor_continued(
    finished_run: Path, sample_folder: Path, quick_config: GenerateConfig
) -> None:
    with pytest.raises(ValueError, match="holds another run"):
        iter_run(sample_folder, finished_run, config=quick_config, device="cpu")
    with pytest.raises(ValueError, match="seed must be that of the run"):
        iter_run(sample_folder, finished_run, config=replace(quick_config, seed=1), device="cpu", resume=True)


def test_resuming_by_another_version_is_reported(
    stopped: Callable[[int], Path], sample_folder: Path, short: GenerateConfig
) -> None:
    run = stopped(3)
    RunFolder(run).open(replace(read_record(run / "config.json"), ds4d="0.2.99"))
    stop_after(6, sample_folder, run, config=short, device="cpu", resume=True)
    events = list(iter_run(sample_folder, run, config=short, device="cpu", resume=True))  # for the second time
    warned = [event for event in events if isinstance(event, Warned)]
    assert events[0] == warned[0] and len(warned) == 1 and warned[0].part == "version"
    assert "0.2.99" in warned[0].message and __version__ in warned[0].message
    assert RunFolder(run).read_metrics().warnings == tuple(warned)
    again = list(iter_run(sample_folder, run, config=short, device="cpu", resume=True))
    assert [type(event) for event in again] == [Finished], "nothing is done, so nothing may differ"


def test_what_goes_without_its_weights_is_recorded(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    """Through an interruption, and without the option when the run is resumed."""
    overrides = {
        "features.kind": "auto", "views.size": 48, "training.losses.lpips.weight": 0.1, "guidance.weight": 1e-3,
        "allow_missing_weights": False,
    }  # fmt: skip
    video, run, config = sample_folder / "front.mp4", tmp_path / "run", with_overrides(short, overrides)
    with pytest.raises(ValueError, match="allow-missing-weights"):
        iter_run(video, run, config=config, device="cpu")
    stop_after(3, video, run, config=config, device="cpu", allow_missing_weights=True)
    events = list(iter_run(video, run, config=config, device="cpu", resume=True))
    degraded = [event for event in events if isinstance(event, Degraded)]
    assert [event.part for event in degraded] == ["views", "features", "lpips", "guidance"]
    metrics = RunFolder(run).read_metrics()
    assert metrics.degradations == tuple(degraded)
    used = metrics.provenance
    assert used.views.startswith("lift") and used.features == "filters"
    assert used.lpips == used.sds == "off (weights not found)"
    record = read_record(run / "config.json")
    assert (record.config.features.kind, record.features_kind) == ("auto", "filters")


def test_an_output_that_cannot_be_made_is_refused_at_the_call(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/run"):
        iter_run(sample_folder, tmp_path / "file" / "run", config=short, device="cpu")


def test_bad_input_leaves_nothing_behind(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    with pytest.raises(ValueError, match="absent"):
        iter_run(tmp_path / "absent", tmp_path / "run", config=short, device="cpu")
    wrong = replace(short, init=replace(short.init, method="points", file=tmp_path / "absent.ply"))
    with pytest.raises(ValueError, match=r"absent\.ply must exist"):
        list(iter_run(sample_folder, tmp_path / "run", config=wrong, device="cpu"))
    assert not (tmp_path / "run").exists()


def test_a_fit_that_diverges_keeps_its_last_good_checkpoint(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ds4d.training.trainer as trainer_module

    input = trainer_module.Trainer._take_step

    def take_step(self) -> tuple[float, dict[str, float]]:
        if self.step == 13:
            raise TrainingDiverged(14, {"l1": float("nan")})
        return input(self)

    monkeypatch.setattr(trainer_module.Trainer, "_take_step", take_step)
    with pytest.raises(TrainingDiverged, match="l1 must be finite, got NaN or Inf at step 14"):
        list(iter_run(sample_folder, tmp_path / "run", config=short, device="cpu"))
    monkeypatch.undo()
    assert not (tmp_path / "run" / "scene.json").exists()
    resumed = iter_run(sample_folder, tmp_path / "run", config=short, device="cpu", resume=True)
    assert next(event.step for event in resumed if isinstance(event, StepDone)) == 9


def write_front(folder: Path, sample_folder: Path, frames: int) -> Path:
    """The sample's front view in STAG4D's layout, wider than high."""
    for index in range(frames):
        image = read_rgba(sample_folder / "front" / f"{index:03d}.png")
        write_png(folder / "ref" / f"{index}_rgba.png", np.pad(image, ((0, 0), (10, 10), (0, 0))))
    return folder


def test_one_frame_becomes_an_object_at_rest(
    tmp_path: Path, quick_video: MultiViewVideo, short: GenerateConfig
) -> None:
    data = tmp_path / "data"
    for view in range(7):
        rgba = np.array(quick_video.frames.read(2, view))
        write_png(data / ("ref/0_rgba.png" if view == 0 else f"zero123/0_rgba/{view - 1}.png"), rgba)
    list(iter_run(data, tmp_path / "run", config=short, device="cpu"))
    scene = DynamicGaussians.load(tmp_path / "run")
    assert scene.field is None and scene.timeline.times == (0.0,)
    assert (tmp_path / "run" / "orbit.mp4").is_file()


def test_one_view_is_enough_and_warned_of(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    alone = replace(short, views=replace(short.views, source="folder"))
    for run in ("run", "again"):  # a notice is given every time
        data = write_front(tmp_path / f"{run}_data", sample_folder, 3)
        events = list(iter_run(data, tmp_path / run, config=alone, device="cpu"))
        assert [event.part for event in events if isinstance(event, Warned)] == ["input", "input"]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["views"] == 1 and metrics["image_size"] == [68, 48]


def test_the_seed_decides_and_the_process_does_not(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = prepare(quick_video, short, CPU).scene.state_dict()
    assert torch.equal(torch.rand(3), expected)  # the user's own random numbers are as they would have been
    again = prepare(quick_video, short, CPU).scene.state_dict()
    other = prepare(quick_video, replace(short, seed=1), CPU).scene.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert {"gaussians.means", "motion.field.trunk.0.weight", "motion.tssf.reduce.weight"} <= changed


def test_tensorboard_is_written_if_asked_for(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    config = replace(short, log=replace(short.log, tensorboard=True))
    stop_after(4, sample_folder, tmp_path / "run", config=config, device="cpu")
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))


def test_tensorboard_asked_for_and_absent(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = replace(short, log=replace(short.log, tensorboard=True))
    with pytest.raises(ImportError, match=r"--log\.tensorboard .*\[log\]"):
        list(iter_run(sample_folder, tmp_path / "run", config=config, device="cpu"))
    assert not (tmp_path / "run").exists()


def test_one_moving_camera_makes_a_run(tmp_path: Path, sample_folder: Path, short: GenerateConfig) -> None:
    """D-NeRF's kind of data: at each time one image, from somewhere else."""
    frames = [
        frame
        for split in ("front", "mv")
        for frame in json.loads((sample_folder / f"transforms_{split}.json").read_text())["frames"]
    ]
    views = ["front", "mv0", "mv1", "mv2", "mv3", "mv4"]
    chosen = [next(f for f in frames if f["view"] == view and f["frame"] == i) for i, view in enumerate(views)]
    data = tmp_path / "data"
    data.mkdir()
    for folder in ("front", "mv"):
        (data / folder).symlink_to(sample_folder / folder)
    kept = ("file_path", "time", "transform_matrix")
    content = {"camera_angle_x": json.loads((sample_folder / "transforms_mv.json").read_text())["camera_angle_x"]}
    content["frames"] = [{key: frame[key] for key in kept} for frame in chosen]
    (data / "transforms_train.json").write_text(json.dumps(content))
    list(iter_run(data, tmp_path / "run", config=short, device="cpu"))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["frames"], metrics["views"]) == (6, 1)
    assert metrics["input_psnr"] > 12  # images with nothing on them have 7


def test_cuda_asked_for_and_absent(
    tmp_path: Path, sample_folder: Path, short: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device must be cpu or auto here, got cuda: torch finds no CUDA device"):
        iter_run(sample_folder, tmp_path / "run", config=short, device="cuda")
    assert not (tmp_path / "run").exists()


def test_features_are_made_of_the_views_that_have_a_use_for_them(
    quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    fused, alone = quick_config, replace(quick_config, fusion=None)
    found = [extract_frame_features(quick_video, config, CPU) for config in (fused, alone)]
    assert [features and features.maps.shape[:2] for features in found] == [(6, 7), (6, 1)]


def test_a_camera_that_moves_is_fitted_without_features_and_with_a_warning(
    quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    viewmats = quick_video.cameras.viewmats.clone()
    viewmats[1, 3, 0, 3] += 0.01
    moving = replace(quick_video, cameras=replace(quick_video.cameras, viewmats=viewmats))
    with notices_to((notices := []).append):
        motion = prepare(moving, quick_config, CPU).scene.motion
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "features")]
    assert motion is not None and motion.tssf is None and motion.field.point_channels == 0
    assert extract_frame_features(moving, replace(quick_config, fusion=None), CPU) is None


def test_a_single_frame_needs_no_features(quick_config: GenerateConfig) -> None:
    video = sample_video(SampleConfig(frames=1, size=48, supersampling=1))
    assert extract_frame_features(video, quick_config, CPU) is None
