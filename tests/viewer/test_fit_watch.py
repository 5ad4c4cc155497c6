"""A fit that is watched: when images are drawn, that they do not change it, and that a browser sees it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ds4d.config import GenerateConfig
from ds4d.pipeline import StageStarted, TrainingStarted, iter_run
from ds4d.training import StepDone
from ds4d.viewer import FitWatch, Viewer
from ds4d.viewer.fit_watch import PreviewTimes


def test_images_take_no_more_than_their_share() -> None:
    """An image of 0.1 s at a share of 5 % is followed by two seconds without, however much someone wants another."""
    times = PreviewTimes(every=1.0, share=0.05)
    assert times.is_due(0.0, wanted=False)  # the first
    times.note(0.0, 0.1)
    assert not times.is_due(2.0, wanted=True)
    assert times.is_due(2.2, wanted=True) and times.is_due(2.2, wanted=False)


def test_cheap_images_wait_for_their_turn_unless_wanted() -> None:
    times = PreviewTimes(every=1.0, share=0.05)
    times.note(0.0, 0.001)
    assert not times.is_due(0.5, wanted=False)
    assert times.is_due(0.5, wanted=True)
    assert times.is_due(1.1, wanted=False)


@pytest.fixture
def short(quick_config: GenerateConfig) -> GenerateConfig:
    """Forty steps with growth in between, and hardly any images."""
    return replace(
        quick_config,
        training=replace(quick_config.training, static_steps=10, dynamic_steps=30),
        outputs=replace(quick_config.outputs, size=16, seconds=0.2, sheet_columns=1, sheet_size=16),
    )


def test_a_browser_sees_the_fit_which_stays_the_same_to_the_bit(
    open_browser: Callable, sample_folder: Path, short: GenerateConfig, tmp_path: Path
) -> None:
    list(iter_run(sample_folder, tmp_path / "alone", config=short, device="cpu"))
    viewer = Viewer()
    watch = FitWatch(viewer)
    watch._next = PreviewTimes(every=0.0, share=1e9)  # an image after every step
    browser = open_browser(viewer)
    try:
        images = []
        for event in iter_run(sample_folder, tmp_path / "watched", config=short, device="cpu"):
            if isinstance(event, TrainingStarted):
                browser.page.wait_for_function("document.readyState == 'complete'")
            watch.show(event)
            if isinstance(event, StepDone) and event.step in (10, 40):
                images.append(browser.wait_for(lambda image: np.ptp(image) > 150))
            if event == StageStarted("evaluate"):
                said = browser.page.get_by_text("fitting, step 40 of 40 (dynamic)")
                said.wait_for()
        assert all(np.ptp(image) > 150 for image in images)  # an object on white
        assert (images[0] != images[1]).any()
    finally:
        browser.page.close()
        viewer.close()
    for name in ("scene.safetensors", "baked.safetensors"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "watched" / name).read_bytes()


def test_nothing_is_drawn_while_nobody_looks(short: GenerateConfig, sample_folder: Path, tmp_path: Path) -> None:
    viewer = Viewer()
    drawn: list[Any] = []
    viewer.refresh = lambda **options: drawn.append(options)
    watch = FitWatch(viewer)
    try:
        events = iter_run(sample_folder, tmp_path / "run", config=replace(short, checkpoint_every=10**6), device="cpu")
        for event in events:
            watch.show(event)
            if isinstance(event, StepDone) and event.step == 5:
                events.close()
    finally:
        viewer.close()
    assert drawn == []
