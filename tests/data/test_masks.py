import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ds4d.data import check_masks, load_stag4d
from ds4d.types import MultiViewVideo


@pytest.fixture
def load(stag4d_folder: Callable[..., Path], write_disc: Callable[..., None]) -> Callable[..., MultiViewVideo]:
    """Loads five frames of seven views after one file was replaced by a disc of the given alphas."""

    def make(name: str | None = None, **alphas: int) -> MultiViewVideo:
        folder = stag4d_folder(tuple(range(5)))
        if name:
            size = 24 if name.startswith("ref") else 16
            write_disc(folder / name, size, size, **alphas)
        return load_stag4d(folder)

    return make


def test_good_masks_pass(load: Callable[..., MultiViewVideo]) -> None:
    check_masks(load())


@pytest.mark.parametrize(
    ("name", "frame"),
    [("ref/3_rgba.png", "frame 3 of view 'front'"), ("zero123/2_rgba/4.png", "frame 2 of view 'view4'")],
)
def test_an_empty_mask_is_named(load: Callable[..., MultiViewVideo], name: str, frame: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name} ({frame})")):
        check_masks(load(name, alpha=0))


def test_a_full_mask_of_the_input_view_is_named(load: Callable[..., MultiViewVideo]) -> None:
    with pytest.raises(ValueError, match=r"ref/1_rgba\.png .* background"):
        check_masks(load("ref/1_rgba.png", outside=255))


def test_a_full_mask_of_the_middle_frame_is_named(load: Callable[..., MultiViewVideo]) -> None:
    with pytest.raises(ValueError, match=r"zero123/2_rgba/4\.png .* background"):
        check_masks(load("zero123/2_rgba/4.png", outside=255))


def test_objects_may_fill_generated_views_at_other_times(load: Callable[..., MultiViewVideo]) -> None:
    check_masks(load("zero123/1_rgba/0.png", outside=255))


def test_images_that_do_not_exist_are_not_read(load: Callable[..., MultiViewVideo]) -> None:
    video = load("zero123/2_rgba/4.png", alpha=0)
    valid = video.valid.clone()
    valid[2, 5] = False
    check_masks(replace(video, valid=valid))


def test_frames_without_files_are_named_by_time_and_view(load: Callable[..., MultiViewVideo]) -> None:
    class Nothing:
        num_times, num_views, width, height = 5, 7, 24, 24

        def read(self, time: int, view: int) -> np.ndarray:
            return np.zeros((24, 24, 4), np.uint8)

    with pytest.raises(ValueError, match=r"^frame 0 of view 'front'"):
        check_masks(replace(load(), frames=Nothing()))
