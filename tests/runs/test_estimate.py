import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.presets import PRESETS
from ds4d.runs import Prediction, gpu_fixes, predict_run

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the benchmarks were measured."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.parametrize(
    ("preset", "frames", "size", "device", "seconds", "gibibytes"),
    # docs/benchmarks.md: whole commands on two cores, the minion's and `make demo`'s; fits on a GPU (11.5 s), and five
    # videos of 144 frames.
    [("cpu", 32, 256, CPU, 137.7, 0.7), ("tiny", 16, 128, CPU, 34, 0.6), ("fast", 24, 256, GPU, 13, 2.2)],
)
def test_predictions_are_near_the_measurements(
    two_cores, preset: str, frames: int, size: int, device, seconds: float, gibibytes: float
) -> None:
    config = PRESETS[preset]()
    config = replace(config, views=replace(config.views, size=size))
    forecast = predict_run(frames, 7, config, device)
    assert forecast.seconds == pytest.approx(seconds, rel=0.3)
    assert forecast.gibibytes == pytest.approx(gibibytes, rel=0.2)


def test_more_work_takes_longer_and_more_cores_less(monkeypatch: pytest.MonkeyPatch, two_cores) -> None:
    times = {name: predict_run(32, 7, PRESETS[name](), CPU).seconds for name in ("tiny", "cpu", "fast", "paper")}
    assert times["tiny"] < times["cpu"] < times["fast"] < times["paper"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert predict_run(32, 7, PRESETS["cpu"](), CPU).seconds == pytest.approx(times["cpu"] / 4)
    few, many = (predict_run(frames, 7, PRESETS["cpu"](), CPU).gibibytes for frames in (8, 800))
    assert many - few == pytest.approx(4 * 792 * 7 * 256**2 / 2**30)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_longer_videos_take_longer(two_cores, device) -> None:
    """The steps of the fit are the same, but every frame is generated, analyzed and scored."""
    few, some, many = (predict_run(frames, 7, PRESETS["fast"](), device).seconds for frames in (8, 32, 128))
    assert few < some < many and many - some == pytest.approx(4 * (some - few))
    assert many > 1.1 * few


def test_fewer_views_at_full_size_take_less(two_cores) -> None:
    few, many = (
        predict_run(32, 7, with_overrides(PRESETS["cpu"](), {"training.views_at_full_size": views}), CPU).seconds
        for views in (2, 4)
    )
    assert few < many


def test_predictions_are_printed_in_round_numbers() -> None:
    assert str(Prediction(268.0, 1.055)) == "about 4 minutes and 1.1 GiB of main memory"
    assert str(Prediction(40.2, 0.9)) == "about 40 seconds and 0.9 GiB of main memory"


@pytest.mark.parametrize(
    ("load", "slowdown"),
    [(0.0, 1.0), (6.0, 2.0), (14.0, 4.0)],  # on four cores, of which the run has two
)
def test_other_work_on_the_machine_is_said(
    two_cores, monkeypatch: pytest.MonkeyPatch, load: float, slowdown: float
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
    monkeypatch.setattr(time, "process_time", lambda: 0.0)
    config = PRESETS["tiny"]()
    assert predict_run(32, 7, config, CPU).slowdown == pytest.approx(slowdown)
    said = f"{slowdown:.1f} times as long" in str(predict_run(32, 7, config, CPU))
    assert said == (slowdown > 1) and predict_run(32, 7, config, GPU).slowdown == 1.0


def test_the_load_of_the_run_itself_is_not_that_of_others(two_cores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 1.5, 1.5))
    monkeypatch.setattr(time, "process_time", lambda: 90.0)
    assert predict_run(32, 7, PRESETS["tiny"](), CPU).slowdown == pytest.approx(1.0)


def test_a_long_clip_takes_the_steps_of_its_windows() -> None:
    config = PRESETS["tiny"]()
    one, many = (predict_run(200, 7, with_overrides(config, {"windows.mode": mode}), CPU) for mode in ("off", "on"))
    assert many.seconds > 1.5 * one.seconds and many.gibibytes == one.gibibytes


def with_networks(preset: str) -> GenerateConfig:
    return with_overrides(PRESETS[preset](), {"views.source": "zero123plus", "features.kind": "dinov2"})


def test_memory_of_a_gpu_follows_what_is_used(two_cores) -> None:
    paper, fast = (predict_run(32, 7, with_networks(name), GPU).gpu_gigabytes for name in ("paper", "fast"))
    assert set(paper) == {"the fit with SDS", "Zero123++", "DINOv2"} and set(fast) == {"the fit", "Zero123++", "DINOv2"}
    assert paper["the fit with SDS"] > 15.8  # docs/benchmarks.md, before the Gaussians have grown
    assert paper["Zero123++"] == pytest.approx(7.9) and fast["the fit"] < paper["DINOv2"] + 5
    assert predict_run(32, 7, with_networks("paper"), CPU).gpu_gigabytes == {}
    without = with_overrides(PRESETS["fast"](), {"views.source": "lift", "features.kind": "filters"})
    assert set(predict_run(32, 7, without, GPU).gpu_gigabytes) == {"the fit"}


def test_lpips_counts_where_its_weights_are_found(two_cores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds4d.metrics.lpips.find_model", lambda model: Path("weights"))
    config = with_overrides(with_networks("paper"), {"guidance.weight": 0.0})
    needed = predict_run(32, 7, config, GPU).gpu_gigabytes
    assert 8 < needed["the fit with LPIPS"] < 12  # docs/benchmarks.md: 8 GB are too few; with SDS 12 GB were enough
    assert any("--training.static-views 2" in fix for fix in gpu_fixes(needed, 8.0))
    without = with_overrides(config, {"training.losses.lpips.weight": 0.0})
    assert "the fit" in predict_run(32, 7, without, GPU).gpu_gigabytes
    monkeypatch.setattr("ds4d.metrics.lpips.find_model", lambda model: None)
    assert "the fit" in predict_run(32, 7, config, GPU).gpu_gigabytes


def test_what_does_not_fit_on_a_gpu_is_named_with_its_fix() -> None:
    needed = predict_run(32, 7, with_networks("paper"), GPU).gpu_gigabytes
    assert gpu_fixes(needed, 24.0) == []
    (fit,) = gpu_fixes(needed, 12.0)
    assert "--guidance.images 1" in fit and "12.0" in fit
    assert len(gpu_fixes(needed, 6.0)) == 2
    (fit,) = gpu_fixes(predict_run(32, 7, PRESETS["fast"](), GPU).gpu_gigabytes, 4.0)
    assert "guidance" not in fit and "--training.times-per-step" in fit
