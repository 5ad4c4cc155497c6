"""Video matting models: the real loading and inference code on an onnx model of a few operators in the real layout."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ds4d.preprocess import VideoConfig, load_video
from ds4d.preprocess.matting import VideoMattingModel


def write_recurrent(path: Path, *, states: int = 4, matte: str = "pha") -> Path:
    """Redness plus half of the matte before, times the ratio at which most of the model runs."""
    given = [
        helper.make_tensor_value_info("src", TensorProto.FLOAT, ["batch", 3, "height", "width"]),
        *(helper.make_tensor_value_info(f"r{i}i", TensorProto.FLOAT, None) for i in range(1, states + 1)),
        helper.make_tensor_value_info("downsample_ratio", TensorProto.FLOAT, [1]),
    ]
    names = ["fgr", matte, *(f"r{i}o" for i in range(1, states + 1))]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    nodes = [
        helper.make_node("Conv", ["src", "redness"], ["red"]),
        helper.make_node("Mul", ["r1i", "half"], ["before"]),
        helper.make_node("Add", ["red", "before"], ["sum"]),
        helper.make_node("Mul", ["sum", "downsample_ratio"], [matte]),
        helper.make_node("Identity", ["src"], ["fgr"]),
        helper.make_node("Identity", [matte], ["r1o"]),
        *(helper.make_node("Identity", [f"r{i}i"], [f"r{i}o"]) for i in range(2, states + 1)),
    ]
    weights = [
        helper.make_tensor("redness", TensorProto.FLOAT, (1, 3, 1, 1), [1, -0.5, -0.5]),
        helper.make_tensor("half", TensorProto.FLOAT, (1,), [0.5]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", given, outputs, weights), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def red(level: int, width: int = 8) -> np.ndarray:
    return np.broadcast_to(np.uint8([level, 0, 0, 255]), (6, width, 4)).copy()


def test_a_matte_depends_on_the_frames_before_it_and_on_no_other_clip(tmp_path: Path) -> None:
    model = VideoMattingModel(write_recurrent(tmp_path / "m.onnx"))
    first, second, third = (alpha.mean() for alpha in model.alphas([red(51), red(51), red(255)]))
    assert (first, second, third) == pytest.approx((0.2, 0.3, 1.0))  # 1 + 0.15 is more than opaque
    assert next(model.alphas([red(51)])).mean() == pytest.approx(0.2)


def test_large_frames_are_looked_at_at_512_pixels(tmp_path: Path) -> None:
    model = VideoMattingModel(write_recurrent(tmp_path / "m.onnx"))
    (alpha,) = model.alphas([red(255, width=1024)])
    assert alpha.shape == (6, 1024) and alpha.mean() == pytest.approx(0.5)


def test_videos_use_it_where_it_is_the_matting_model(tmp_path: Path, write_video_file, disc, over, rng) -> None:
    background = rng.integers(40, 190, (60, 80, 1)).repeat(3, 2)
    frames = [over(disc(25 + 3 * time, 30, 14, size=(80, 60)), background) for time in range(4)]
    path = write_video_file("a.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    loaded = load_video(path, VideoConfig(size=64, matting_model=write_recurrent(tmp_path / "m.onnx")))
    assert (loaded.video.frames.read(0, 0)[..., 3] > 127).sum() == pytest.approx(
        np.pi * 14**2 * (64 / loaded.crop.side) ** 2, rel=0.1
    )


def test_models_of_another_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pha"):
        VideoMattingModel(write_recurrent(tmp_path / "m.onnx", matte="alpha"))
