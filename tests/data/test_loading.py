import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.data import FolderConfig, load_views

Maker = Callable[..., Path]
FRAME = {"file_path": "a", "time": 0, "transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]}


def test_a_stag4d_folder_is_recognized(stag4d_folder: Maker) -> None:
    video = load_views(stag4d_folder(), FolderConfig(size=8, generated_weight=0.5, rig="zero123plus-v1.2"))
    assert (video.num_times, video.num_views, video.frames.height) == (3, 7, 8)
    assert video.view_weights[1] == 0.5
    focal = 4 / math.tan(math.radians(15))  # fovy 30 degrees over 8 pixels
    assert video.cameras.Ks[0, 1, 0, 0].item() == pytest.approx(focal)


def test_a_transforms_folder_is_recognized(transforms_folder: Maker) -> None:
    video = load_views(transforms_folder([FRAME], "mine"), FolderConfig(splits=("mine",), up="z", size=8))
    assert (video.num_times, video.num_views, video.frames.height, video.up) == (1, 1, 8, "z")


def test_generated_views_have_weight_one_half(stag4d_folder: Maker) -> None:
    assert load_views(stag4d_folder(), FolderConfig(size=8)).view_weights.tolist() == [1.0] + [0.5] * 6


def test_rendered_views_have_weight_one(transforms_folder: Maker) -> None:
    frames = [{**FRAME, "view": "a"}, {**FRAME, "file_path": "b", "view": "b"}]
    assert load_views(transforms_folder(frames), FolderConfig()).view_weights.tolist() == [1.0, 1.0]


def test_generated_weight_applies_to_transforms(transforms_folder: Maker) -> None:
    frames = [{**FRAME, "view": "a"}, {**FRAME, "file_path": "b", "view": "b"}]
    assert load_views(transforms_folder(frames), FolderConfig(generated_weight=0.5)).view_weights.tolist() == [1.0, 0.5]


def test_the_frame_rate_gives_the_duration(stag4d_folder: Maker, transforms_folder: Maker) -> None:
    frames = [{**FRAME, "time": i / 4, "view": view} for i in range(5) for view in ("a", "b")]
    frames = [{**frame, "file_path": f"{i}"} for i, frame in enumerate(frames)]
    assert load_views(transforms_folder(frames), FolderConfig(fps=10.0)).duration == 0.5
    assert load_views(transforms_folder(frames), FolderConfig()).duration == pytest.approx(5 / 24)
    assert load_views(stag4d_folder(), FolderConfig(fps=12.0)).duration == 0.25


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan])
def test_the_frame_rate_must_be_positive(fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        FolderConfig(fps=fps)


@pytest.mark.parametrize(("name", "got"), [("empty", "neither layout"), ("absent", "no folder")])
def test_other_folders_are_refused(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=rf"{name} must be .*, got {got}\. Give ref/.* or transforms_<split>\.json"):
        load_views(tmp_path / name, FolderConfig())


def test_options_of_the_other_layout_are_refused(stag4d_folder: Maker) -> None:
    with pytest.raises(ValueError, match="--up must not be given"):
        load_views(stag4d_folder(), FolderConfig(up="z"))
    with pytest.raises(ValueError, match="--splits must not be given"):
        load_views(stag4d_folder(), FolderConfig(splits=("train",)))


def test_a_rig_beside_transforms_is_refused(transforms_folder: Maker) -> None:
    with pytest.raises(ValueError, match="--rig must not be given"):
        load_views(transforms_folder([FRAME]), FolderConfig(rig="zero123plus-v1.2"))
