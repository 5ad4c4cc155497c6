"""Long clips: fitted in windows, resumed window by window, and read again as one scene."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ds4d
from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.data.synthetic import SampleConfig, sample_video, write_sample
from ds4d.pipeline import Event, Finished, Resolved, iter_run
from ds4d.pipeline.fits import choose_windows, count_gaussians, fit_order
from ds4d.runs import RunFolder
from ds4d.scene import DynamicGaussians, WindowedGaussians, read_baked_scene, read_scene, window_folder
from ds4d.scene.lifetimes import FOREVER
from ds4d.scene.windowed_gaussians import read_windows
from ds4d.training import StepDone, WindowsConfig, read_log
from ds4d.training.births import Newborn
from ds4d.types import MultiViewVideo, RawGaussians

FRAMES, STATIC, DYNAMIC = 12, 8, 10
WINDOWS = WindowsConfig(mode="on", frames=7, overlap=2)  # three windows


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "views"
    write_sample(folder, SampleConfig(frames=FRAMES, size=32, supersampling=1))
    return folder


@pytest.fixture(scope="module")
def config(quick_config: GenerateConfig) -> GenerateConfig:
    overrides = {
        "training.static_steps": STATIC, "training.dynamic_steps": DYNAMIC, "training.densification.every": 5,
        "init.num_gaussians": 300, "init.hull.resolution": 16, "log.every": 2, "checkpoint_every": 4,
    }  # fmt: skip
    return replace(with_overrides(quick_config, overrides), windows=WINDOWS)


@pytest.fixture(scope="module")
def finished(clip: Path, config: GenerateConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    folder = tmp_path_factory.mktemp("runs") / "long"
    return folder, list(iter_run(clip, folder, config=config, device="cpu"))


def run_until(step: int, clip: Path, folder: Path, config: GenerateConfig) -> None:
    events = iter_run(clip, folder, config=config, device="cpu", resume=folder.exists())
    for event in events:
        if isinstance(event, StepDone) and event.step == step:
            events.close()


def test_all_windows_are_fitted_with_the_same_gaussians(finished: tuple[Path, list[Event]]) -> None:
    folder, events = finished
    total = STATIC + 3 * DYNAMIC
    assert any(isinstance(event, Resolved) and event.part == "windows" for event in events)
    steps = [(event.step, event.total_steps) for event in events if isinstance(event, StepDone)]
    assert steps == [(step, total) for step in range(1, total + 1)]
    assert [entry["step"] for entry in read_log(folder / "log.jsonl")] == list(range(2, total + 1, 2))
    assert isinstance(events[-1], Finished)
    metrics = events[-1].metrics
    assert (metrics.frames, metrics.steps, len(metrics.input_psnr_by_frame)) == (FRAMES, total, FRAMES)
    canonical = [ds4d.DynamicGaussians.load(window_folder(folder, index)).canonical() for index in range(3)]
    assert {raw.num_gaussians for raw in canonical} == {metrics.num_gaussians}
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        assert all(torch.equal(getattr(raw, name), getattr(canonical[0], name)) for raw in canonical)


def test_a_window_begins_where_its_neighbor_ends(
    finished: tuple[Path, list[Event]], clip: Path, config: GenerateConfig, tmp_path: Path
) -> None:
    """Without steps, the second window to be fitted shows what the first does on the frames that both share."""
    no_steps = with_overrides(config, {"training.optimizer.planes.start": 0.0, "training.optimizer.mlp.start": 0.0})
    folder = tmp_path / "run"
    list(iter_run(clip, folder, config=no_steps, device="cpu"))
    first, second = (ds4d.DynamicGaussians.load(window_folder(folder, index)) for index in (1, 2))
    last = first.raw_at(torch.tensor(first.timeline.times[-2:])).means
    torch.testing.assert_close(second.raw_at(torch.tensor(second.timeline.times[:2])).means, last)


@pytest.mark.parametrize("stop", [3, STATIC + DYNAMIC, STATIC + DYNAMIC + 3, STATIC + 2 * DYNAMIC + 1])
def test_an_interrupted_run_goes_on_with_the_window_it_was_in(
    finished: tuple[Path, list[Event]], clip: Path, config: GenerateConfig, tmp_path: Path, stop: int
) -> None:
    """Bit for bit, and without another step of the windows before."""
    whole, folder = finished[0], tmp_path / "run"
    run_until(stop, clip, folder, config)
    with pytest.raises(ValueError, match="finished windows"):
        RunFolder(folder).check_scene()
    events = list(iter_run(clip, folder, config=config, device="cpu", resume=True))
    assert [event.step for event in events if isinstance(event, StepDone)] == list(
        range(stop + 1, STATIC + 3 * DYNAMIC + 1)
    )
    files = [
        "windows.json",
        *(f"windows/000{i}/{name}" for i in range(3) for name in ("scene.safetensors", "scene.json")),
    ]
    for name in files:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    for ours, theirs in zip(read_log(folder / "log.jsonl"), read_log(whole / "log.jsonl"), strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


def test_a_long_clip_is_loaded_rendered_and_exported_as_any(finished: tuple[Path, list[Event]], tmp_path: Path) -> None:
    scene = ds4d.load(finished[0], "cpu")
    assert isinstance(scene.model, WindowedGaussians) and len(scene.times) == FRAMES
    assert scene.render([0.0, 0.4, 0.5, 1.0], size=32).shape == (4, 32, 32, 3)
    with pytest.raises(ValueError, match=r"ds4d\.load"):
        ds4d.DynamicGaussians.load(finished[0])
    assert scene.at([0.1, 0.9]).means.shape == (2, scene.num_gaussians, 3)
    for name in ("plys", "page.html", "one.splat", "mesh.glb"):
        options = {"times": [0.5]} if name == "one.splat" else {"resolution": 16} if name == "mesh.glb" else {}
        assert scene.export(tmp_path / name, **options)
    assert len(list((tmp_path / "plys").glob("*.ply"))) == FRAMES


def test_frames_baked_and_evaluated_are_the_same(finished: tuple[Path, list[Event]]) -> None:
    times = torch.tensor(read_scene(finished[0]).timeline.times)
    evaluated, baked = (read(finished[0]).raw_at(times) for read in (read_scene, read_baked_scene))
    torch.testing.assert_close(baked.means, evaluated.means, rtol=0, atol=1e-4)  # local times are rounded


def test_short_clips_and_moving_cameras_are_fitted_as_a_whole(quick_video: MultiViewVideo) -> None:
    auto = GenerateConfig()
    assert choose_windows(quick_video, auto) == [range(6)]
    divided = replace(auto, windows=WindowsConfig(above=5, frames=6, overlap=2))
    assert choose_windows(quick_video, divided) == [range(6)], "as long as one window"
    long = sample_video(SampleConfig(frames=9, size=8, supersampling=1))
    small = WindowsConfig(above=8, frames=6, overlap=2)
    assert len(choose_windows(long, replace(auto, windows=small))) > 1
    for config in (replace(auto, windows=replace(small, mode="off")), replace(auto, windows=small, field=None)):
        assert choose_windows(long, config) == [range(9)]
    partial = replace(long, valid=long.valid.clone().index_fill_(0, torch.tensor([3]), False))
    assert choose_windows(partial, replace(auto, windows=small)) == [range(9)]
    with pytest.raises(ValueError, match="--windows on"):
        choose_windows(partial, replace(auto, windows=replace(small, mode="on")))


def test_windows_are_fitted_from_the_middle_outwards() -> None:
    windows = [range(6), range(4, 10), range(8, 14)]
    assert fit_order(windows, 7) == [(1, None), (2, 1), (0, 1)]
    assert fit_order(windows, 3) == [(0, None), (1, 0), (2, 1)]


def test_numbers_of_gaussians_grow_from_the_first_window_in_both_directions() -> None:
    assert count_gaussians([7, 7, 7]) == (7, None)
    assert count_gaussians([9, 7, 7, 8, 12]) == (14, ((5, 7), (0, 0), (0, 0), (0, 1), (0, 5)))


@pytest.fixture
def births(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three Gaussians are born in each window after the first, halfway in time; the numbers asked for at most."""
    asked: list[int] = []

    def find(
        scene: DynamicGaussians, video: MultiViewVideo, renderer: object, known: range, count: int, generator: object
    ) -> Newborn:
        asked.append(count)
        raw, rows = scene.canonical(), torch.arange(3)
        parts = {name: getattr(raw, name)[rows].detach() + 0.0 for name in RawGaussians.__dataclass_fields__}
        return Newborn(RawGaussians(**parts), torch.tensor([[0.45 * video.duration, FOREVER]]).repeat(3, 1))

    monkeypatch.setattr("ds4d.training.trainer.find_newborn", find)
    return asked


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("longer") / "views"
    write_sample(folder, SampleConfig(frames=18, size=32, supersampling=1))
    return folder


@pytest.mark.parametrize("stop", [None, STATIC + DYNAMIC + 4, STATIC + 2 * DYNAMIC + 7])
def test_windows_may_add_gaussians(
    births: list[int], longer: Path, config: GenerateConfig, tmp_path: Path, stop: int | None
) -> None:
    """Five windows, of which the third is the first to be fitted; also interrupted, before and after births."""
    overrides = {"windows.new_gaussians": 50, "windows.frames": 6, "training.densification.stop": 0.0}
    config, folder = with_overrides(config, overrides), tmp_path / "run"
    if stop is not None:
        run_until(stop, longer, folder, config)
    list(iter_run(longer, folder, config=config, device="cpu", resume=stop is not None))
    record, windows = read_windows(folder), [ds4d.DynamicGaussians.load(window_folder(folder, i)) for i in range(5)]
    assert record.added == ((6, 12), (6, 9), (0, 0), (0, 3), (0, 6))
    assert births == [50, 47, 50, 47], "what is left of them in each direction"
    for window in windows:
        for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
            shared = getattr(window.canonical(), name)[: record.num_shared]
            assert torch.equal(shared, getattr(windows[2].canonical(), name))
    scene = ds4d.load(folder, "cpu")
    starts = [scene.times[first] * scene.duration for first, _ in record.windows]
    for born, later in ((3, 4), (1, 0)):  # a life is the same on the timelines of both windows
        first, second = windows[born].gaussians.lifetimes, windows[later].gaussians.lifetimes
        assert first is not None and second is not None
        rows = slice(record.num_shared, record.num_shared + 3)
        torch.testing.assert_close(first[rows, 0] + starts[born], second[rows, 0] + starts[later])
    last = scene.at(scene.times[-1]).opacities[record.num_shared :] > 1e-6
    assert last.tolist() == [True] * 6 + [False] * 6, "those of the first windows are dead"
    assert len(scene.export(tmp_path / "plys")) == 18 + 1
