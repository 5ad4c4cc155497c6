"""The live viewer: when it updates, and that it does not change the result."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ds4d.config import GenerateConfig
from ds4d.pipeline import StageStarted, TrainingStarted, iter_run
from ds4d.training import StepDone
from ds4d.viewer import LiveViewer, Viewer
from ds4d.viewer.live import UpdateSchedule


def test_updates_take_at_most_their_fraction() -> None:
    """An update of 0.1 s at a fraction of 5 % is followed by two seconds without, even if one is requested."""
    schedule = UpdateSchedule(interval=1.0, max_fraction=0.05)
    assert schedule.is_due(0.0, requested=False)  # the first
    schedule.record(0.0, 0.1)
    assert not schedule.is_due(2.0, requested=True)
    assert schedule.is_due(2.2, requested=True) and schedule.is_due(2.2, requested=False)


def test_short_updates_wait_for_the_interval_unless_requested() -> None:
    schedule = UpdateSchedule(interval=1.0, max_fraction=0.05)
    schedule.record(0.0, 0.001)
    assert not schedule.is_due(0.5, requested=False)
    assert schedule.is_due(0.5, requested=True)
    assert schedule.is_due(1.1, requested=False)


@pytest.fixture
def short(quick_config: GenerateConfig) -> GenerateConfig:
    """Forty steps with densification, and small outputs."""
    return replace(
        quick_config,
        training=replace(quick_config.training, static_steps=10, dynamic_steps=30),
        outputs=replace(quick_config.outputs, size=16, seconds=0.2, sheet_columns=1, sheet_size=16),
    )


def test_a_browser_shows_the_fit_and_the_result_is_bit_equal(
    open_browser: Callable, sample_folder: Path, short: GenerateConfig, tmp_path: Path
) -> None:
    list(iter_run(sample_folder, tmp_path / "alone", config=short, device="cpu"))
    viewer = Viewer()
    live = LiveViewer(viewer)
    live._schedule = UpdateSchedule(interval=0.0, max_fraction=1e9)  # an update after every step
    browser = open_browser(viewer)
    try:
        images = []
        for event in iter_run(sample_folder, tmp_path / "watched", config=short, device="cpu"):
            if isinstance(event, TrainingStarted):
                browser.page.wait_for_function("document.readyState == 'complete'")
            live.on_event(event)
            if isinstance(event, StepDone) and event.step in (10, 40):
                images.append(browser.wait_for(lambda image: np.ptp(image) > 150))
            if event == StageStarted("evaluate"):
                browser.page.get_by_text("step 40 of 40 (dynamic)").wait_for()
        assert all(np.ptp(image) > 150 for image in images)  # an object on white
        assert (images[0] != images[1]).any()
    finally:
        browser.page.close()
        viewer.close()
    for name in ("scene.safetensors", "baked.safetensors"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "watched" / name).read_bytes()


def test_nothing_is_rendered_without_browsers(short: GenerateConfig, sample_folder: Path, tmp_path: Path) -> None:
    viewer = Viewer()
    refreshed: list[Any] = []
    viewer.refresh = lambda **options: refreshed.append(options)
    live = LiveViewer(viewer)
    try:
        events = iter_run(sample_folder, tmp_path / "run", config=replace(short, checkpoint_every=10**6), device="cpu")
        for event in events:
            live.on_event(event)
            if isinstance(event, StepDone) and event.step == 5:
                events.close()
    finally:
        viewer.close()
    assert refreshed == []
