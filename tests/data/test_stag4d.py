import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ds4d.core import Warned, notices_to
from ds4d.data import check_masks, load_stag4d
from ds4d.geometry import RIGS, rig_cameras, write_rig

Maker = Callable[..., Path]


def test_a_folder_becomes_a_multi_view_video(stag4d_folder: Maker) -> None:
    video = load_stag4d(stag4d_folder(), generated_weight=0.25)
    assert (video.num_times, video.num_views, video.middle) == (3, 7, 1)
    assert video.view_names == ("front", "view0", "view1", "view2", "view3", "view4", "view5")
    assert video.view_weights.tolist() == [1.0] + [0.25] * 6
    assert video.times.tolist() == [0.0, 0.5, 1.0]
    assert video.valid.all() and video.up == "y"
    batch = video.gather(torch.tensor([0, 2]), torch.tensor([0, 6]))
    assert batch.images.shape == (2, 3, 24, 24)  # generated views are resized to the input view


def test_cameras_are_those_of_the_rig_at_every_time_without_copies(stag4d_folder: Maker) -> None:
    cameras = load_stag4d(stag4d_folder()).cameras
    rig = rig_cameras(RIGS["stag4d"], 24, 24)
    assert torch.equal(cameras.viewmats, rig.viewmats.expand(3, 7, 4, 4))
    assert torch.equal(cameras.Ks, rig.Ks.expand(3, 7, 3, 3))
    assert cameras.is_static and cameras.viewmats.stride(0) == 0


def test_each_file_is_at_its_time_and_view(stag4d_folder: Maker, write_disc: Callable[..., None]) -> None:
    folder = stag4d_folder()
    write_disc(folder / "zero123" / "1_rgba" / "4.png", alpha=100)
    video = load_stag4d(folder)
    faint = [(t, v) for t in range(3) for v in range(7) if video.frames.read(t, v).max() < 150]
    assert faint == [(1, 5)]  # the input view is view 0


def test_frames_are_sorted_by_number(stag4d_folder: Maker) -> None:
    video = load_stag4d(stag4d_folder(tuple(range(12))))
    assert [row[0].name for row in video.frames.paths] == [f"{i}_rgba.png" for i in range(12)]
    assert [row[3].parent.name for row in video.frames.paths] == [f"{i}_rgba" for i in range(12)]


def test_size_scales_images_and_intrinsics(stag4d_folder: Maker) -> None:
    video = load_stag4d(stag4d_folder(), size=12)
    assert video.frames.read(1, 0).shape == video.frames.read(1, 3).shape == (12, 12, 4)
    assert (video.cameras.width, video.cameras.height) == (12, 12)
    assert torch.equal(video.cameras.Ks[0], rig_cameras(RIGS["stag4d"], 12, 12).Ks)
    with pytest.raises(ValueError, match="size"):
        load_stag4d(stag4d_folder(), size=0)


def test_gray_pixels_with_alpha_1_are_removed(stag4d_folder: Maker) -> None:
    """At 24 px the generated views (16 px) are resampled, which would spread the gray."""
    pixels = load_stag4d(stag4d_folder()).frames.read(0, 1)
    assert (pixels[0] == 0).all() and (pixels[:, 0] == 0).all()
    assert set(pixels[12, 12].tolist()) == {200, 120, 40, 255}


def test_one_frame_is_enough(stag4d_folder: Maker) -> None:
    video = load_stag4d(stag4d_folder((7,)))
    assert video.times.tolist() == [0.0] and video.num_views == 7


def test_one_view_is_enough_with_a_warning(stag4d_folder: Maker) -> None:
    with notices_to((notices := []).append):
        video = load_stag4d(stag4d_folder(generated=0))
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "input")]
    assert video.view_names == ("front",) and video.view_weights.tolist() == [1.0]
    check_masks(video)


def test_a_rig_file_sets_the_number_of_views(stag4d_folder: Maker, tmp_path: Path) -> None:
    views = [
        {"name": name, "azimuth": azimuth, "elevation": 0, "fovy": 40, "distance": 3}
        for name, azimuth in (("front", 0), ("left", -90), ("right", 90))
    ]
    (tmp_path / "rig.json").write_text(json.dumps(views))
    folder = stag4d_folder(generated=2)
    video = load_stag4d(folder, rig=str(tmp_path / "rig.json"))
    assert video.view_names == ("front", "left", "right")
    with pytest.raises(ValueError, match=r"0_rgba/2\.png"):
        load_stag4d(folder, rig="stag4d")


def test_the_folders_own_rig_is_taken_unless_another_is_given(stag4d_folder: Maker) -> None:
    folder = stag4d_folder()
    assert load_stag4d(folder).cameras.Ks[0, 1, 0, 0] == load_stag4d(folder, rig="stag4d").cameras.Ks[0, 1, 0, 0]
    write_rig(folder / "rig.json", RIGS["zero123plus-v1.2"])
    own, named = load_stag4d(folder).cameras, load_stag4d(folder, rig="zero123plus-v1.2").cameras
    assert torch.equal(own.viewmats, named.viewmats) and torch.equal(own.Ks, named.Ks)


def _remove_input(folder: Path, _: Callable[..., None]) -> None:
    (folder / "ref" / "1_rgba.png").unlink()


def _double_number(folder: Path, write_disc: Callable[..., None]) -> None:
    write_disc(folder / "ref" / "01_rgba.png", 24, 24)


def _remove_view(folder: Path, _: Callable[..., None]) -> None:
    (folder / "zero123" / "2_rgba" / "5.png").unlink()


def _add_view(folder: Path, write_disc: Callable[..., None]) -> None:
    write_disc(folder / "zero123" / "2_rgba" / "6.png")


def _add_generated_frame(folder: Path, write_disc: Callable[..., None]) -> None:
    write_disc(folder / "zero123" / "3_rgba" / "0.png")


def _resize_one(folder: Path, write_disc: Callable[..., None]) -> None:
    write_disc(folder / "zero123" / "1_rgba" / "2.png", 20, 20)


def _flatten_view(folder: Path, write_disc: Callable[..., None]) -> None:
    for number in range(3):
        write_disc(folder / "zero123" / f"{number}_rgba" / "2.png", 24, 16)


def _truncate_one(folder: Path, _: Callable[..., None]) -> None:
    (folder / "zero123" / "1_rgba" / "2.png").write_bytes(b"\x89PNG\r\n")


def _rename_inputs(folder: Path, _: Callable[..., None]) -> None:
    for number in range(3):
        (folder / "ref" / f"{number}_rgba.png").rename(folder / "ref" / f"{number}.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove_input, "ref: frame numbers must have no gaps, got 2_rgba.png after 0_rgba.png"),
        (_double_number, "01_rgba.png and 1_rgba.png share a number"),
        (_remove_view, "2_rgba/5.png is missing"),
        (_add_view, "2_rgba/6.png is one view too many"),
        (_add_generated_frame, "3_rgba has no input image ref/3_rgba.png"),
        (_resize_one, "1_rgba/2.png must have the size of"),
        (_flatten_view, "0_rgba/2.png must have the aspect ratio of"),
        (_truncate_one, "1_rgba/2.png must be a whole image file"),
        (_rename_inputs, "ref must hold frames named <number>_rgba.png, got none"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_folders_are_refused_by_file(
    stag4d_folder: Maker,
    write_disc: Callable[..., None],
    damage: Callable[[Path, Callable[..., None]], None],
    message: str,
) -> None:
    folder = stag4d_folder()
    damage(folder, write_disc)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_stag4d(folder)


def test_a_missing_folder_and_a_zero_weight_are_refused(stag4d_folder: Maker, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere/ref"):
        load_stag4d(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="generated-weight"):
        load_stag4d(stag4d_folder(), generated_weight=0.0)


def test_minions(data_dir: Path) -> None:
    """A real folder: 32 frames at 720 px, six generated views at 320 px with gray under alpha 1."""
    video = load_stag4d(data_dir / "minions", size=90)
    assert (video.num_times, video.num_views) == (32, 7)
    assert [row[0].name for row in video.frames.paths[:12]] == [f"{i}_rgba.png" for i in range(12)]
    check_masks(video)
    batch = video.gather(torch.full((7,), video.middle), torch.arange(7))
    covered = (batch.alphas > 0.5).float().mean(dim=(1, 2, 3))
    assert ((covered > 0.05) & (covered < 0.8)).all()
    assert (batch.images <= batch.alphas).all()
    assert batch.alphas[:, :, 0].max() == 0  # the floor: nothing is left of the haze round the object
