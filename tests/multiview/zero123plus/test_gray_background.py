"""Cutting views out of gray: grids of the real model, and views whose object is partly as gray as the background."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Bool, UInt8

from ds4d.core import Warned, notices_to
from ds4d.io import read_rgba
from ds4d.multiview.zero123plus.gray_background import heights, matte_views

NAMES = [f"view{k}" for k in range(6)]


def overlap(first: Bool[np.ndarray, "*N"], second: Bool[np.ndarray, "*N"]) -> float:
    return float((first & second).sum() / (first | second).sum())


def two_tone(gray: int, *, height: int = 40) -> UInt8[np.ndarray, "1 6 64 64 3"]:
    """An upright box, its upper quarter orange, the rest of one gray, before 127; the same in six views."""
    views = np.full((1, 6, 64, 64, 3), 127, np.uint8)
    top = 32 - height // 2
    views[:, :, top : top + height, 20:44] = gray
    views[:, :, top : top + height // 4, 20:44] = (220, 120, 40)
    return views


def box(height: int = 40) -> Bool[np.ndarray, "64 64"]:
    inside = np.zeros((64, 64), bool)
    inside[32 - height // 2 : 32 + height // 2, 20:44] = True
    return inside


def test_heights_count_rows_from_first_to_last() -> None:
    alphas = np.zeros((3, 10, 4), np.uint8)
    alphas[0, 2, 1] = alphas[0, 7, 2] = 255
    alphas[1, 9, 0] = 128
    alphas[2] = 127
    assert heights(alphas).tolist() == [6, 1, 0]


def test_mattes_of_real_views_agree_with_a_segmentation_network(data_dir: Path) -> None:
    """The masks in these files are SAM's."""
    folder = data_dir / "minions"
    views = np.stack([[read_rgba(folder / f"zero123/{t}_rgba/{k}.png") for k in range(6)] for t in (0, 1)])
    fronts = np.stack([read_rgba(folder / f"ref/{t}_rgba.png")[..., 3] for t in (0, 1)])
    with notices_to((notices := []).append):
        cut = matte_views(views[..., :3], heights(fronts) / 720, NAMES, same_size=True, model=None)
    assert notices == []
    assert (cut[..., :3] <= cut[..., 3:]).all()
    for view in range(6):
        assert overlap(cut[:, view, ..., 3] > 127, views[:, view, ..., 3] == 255) > 0.95


@pytest.mark.parametrize("gray", [133, 121, 160])
def test_parts_nearly_as_gray_as_the_background_are_kept(gray: int) -> None:
    cut = matte_views(two_tone(gray), np.array([40 / 64]), NAMES, same_size=True, model=None)
    assert all(overlap(cut[0, view, ..., 3] > 127, box()) > 0.95 for view in range(6))


def test_parts_exactly_as_gray_give_a_notice() -> None:
    views = two_tone(200)
    views[:, 0] = two_tone(127)[:, 0]
    with notices_to((notices := []).append):
        matte_views(views, np.array([40 / 64]), NAMES, same_size=True, model=None)
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "views")]


def test_a_shadow_that_makes_the_object_too_high_is_removed() -> None:
    views = two_tone(200)
    views[:, :, 52:60, 16:48] = 121  # on the ground
    cut = matte_views(views, np.array([40 / 64]), NAMES, same_size=True, model=None)
    assert all(overlap(cut[0, view, ..., 3] > 127, box()) > 0.95 for view in range(6))


def test_views_of_other_scale_are_compared_with_one_another() -> None:
    """The video's object is a third as high; five views show all of theirs, one only its head."""
    views = two_tone(200)
    views[:, 2] = two_tone(127)[:, 2]
    with notices_to((notices := []).append):
        matte_views(views, np.array([0.2]), NAMES, same_size=False, model=None)
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "views")]
    assert notices[0].message.startswith("view2")


def test_noise_in_the_background_is_removed() -> None:
    noise = np.random.default_rng(0).integers(-2, 3, (1, 6, 64, 64, 3))
    views = (two_tone(200) + noise).astype(np.uint8)
    cut = matte_views(views, np.array([40 / 64]), NAMES, same_size=True, model=None)
    assert all(overlap(cut[0, view, ..., 3] > 127, box()) > 0.95 for view in range(6))


def test_a_matting_model_is_used_if_given(tmp_path: Path) -> None:
    """This one takes what is red for the object."""
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install '.[matting]')")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    pick = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
        for name, value in (("zero", 0), ("one", 1))
    ]
    graph = helper.make_graph(
        [*pick, helper.make_node("Slice", ["image", "zero", "one", "one"], ["mask"])],
        "red",
        [helper.make_tensor_value_info("image", floats, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("mask", floats, [1, 1, 64, 64])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "red.onnx"))
    views = two_tone(127)
    cut = matte_views(views, np.array([40 / 64]), NAMES, same_size=True, model=tmp_path / "red.onnx")
    red = views[0, 0, ..., 0] > 200
    assert overlap(cut[0, 0, ..., 3] > 127, red) > 0.95
