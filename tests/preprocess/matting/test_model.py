"""Matting models: the real loading and inference code on onnx models of a few operators."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ds4d.preprocess import VideoConfig, load_video
from ds4d.preprocess.matting import MattingModel, matting_model_path
from ds4d.preprocess.matting.foreground import apply_matte


def write_model(
    path: Path, size: int | str, nodes: list[onnx.NodeProto], *, channels: int = 3, constants: dict | None = None
) -> Path:
    """A model from "image" [1, channels, size, size] to "matte", with a second output like U2-Net's side outputs."""
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, size, size])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("matte", "side")]
    weights = [
        helper.make_tensor(
            name, TensorProto.FLOAT if values.dtype == np.float32 else TensorProto.INT64, values.shape, values
        )
        for name, values in (constants or {}).items()
    ]
    side = helper.make_node("Neg", ["matte"], ["side"])
    graph = helper.make_graph([*nodes, side], "tiny", [given], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def redness(path: Path, size: int | str = 32) -> Path:
    """A model of redness: the first channel minus half of the second and third."""
    weights = np.float32([1, -0.5, -0.5]).reshape(1, 3, 1, 1)
    return write_model(path, size, [helper.make_node("Conv", ["image", "w"], ["matte"])], constants={"w": weights})


def brightness(path: Path, size: int) -> Path:
    """A model of the sum of the positive channels, which depends on the input normalization."""
    nodes = [
        helper.make_node("Relu", ["image"], ["bright"]),
        helper.make_node("ReduceSum", ["bright", "axes"], ["matte"], keepdims=1),
    ]
    return write_model(path, size, nodes, constants={"axes": np.int64([1])})


def opaque(rgb: np.ndarray) -> np.ndarray:
    return np.dstack((rgb, np.full(rgb.shape[:2], 255, np.uint8))).astype(np.uint8)


def thirds(size: int) -> np.ndarray:
    """Black, gray (0.6) and white stripes."""
    return opaque(np.repeat(np.repeat(np.uint8([0, 153, 255]), size // 3)[None, :, None], size, 0).repeat(3, 2))


@pytest.mark.parametrize(
    ("size", "means", "stds"),
    # As published with the two families: ImageNet statistics at 320 pixels, one half and 1 at 1024.
    [(96, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), (1020, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))],
)
def test_input_normalization_depends_on_the_family(tmp_path: Path, size: int, means, stds) -> None:
    model = MattingModel(brightness(tmp_path / "m.onnx", size))
    alpha = model.alpha(thirds(size))
    lit = [sum(max(0.0, (v - m) / d) for m, d in zip(means, stds, strict=True)) for v in (0.0, 0.6, 1.0)]
    middles = alpha[size // 2, [size // 6, size // 2, 5 * size // 6]]
    assert middles == pytest.approx(np.array(lit) / lit[-1], abs=1e-3)


def test_matte_does_not_depend_on_exposure(tmp_path: Path) -> None:
    model = MattingModel(brightness(tmp_path / "m.onnx", 96))
    dim = thirds(96) // 2
    dim[..., 3] = 255
    assert model.alpha(dim) == pytest.approx(model.alpha(thirds(96)), abs=0.02)


def test_matte_has_the_size_of_the_image(tmp_path: Path, disc, over) -> None:
    image = opaque(over(disc(40, 26, 14, size=(80, 60)), (90, 140, 200)))
    for size in (32, "any"):
        alpha = MattingModel(redness(tmp_path / f"{size}.onnx", size)).alpha(image)
        assert alpha.shape == (60, 80)
        assert (alpha.min(), alpha.max()) == pytest.approx((0, 1), abs=0.02)
        assert (alpha > 0.5).mean() == pytest.approx(np.pi * 14**2 / 4800, rel=0.08)


def test_outline_takes_the_interior_color(disc, over) -> None:
    truth = disc(40, 26, 14, size=(80, 60))
    cut = apply_matte(opaque(over(truth, (20, 220, 40))), truth[..., 3].astype(np.float32) / 255)
    soft = (cut[..., 3] > 40) & (cut[..., 3] < 250)
    straight = cut[soft][:, :3] * 255.0 / cut[soft][:, 3:]
    assert soft.sum() > 40
    assert straight == pytest.approx(np.broadcast_to((200, 40, 30), straight.shape), abs=6)
    assert (cut[..., :3] <= cut[..., 3:]).all()


def _on_noise(disc, over, rng) -> list[np.ndarray]:
    """Eight frames of a moving disc in front of noise."""
    background = rng.integers(40, 190, (60, 80, 1)).repeat(3, 2)
    return [over(disc(25 + 3 * time, 30, 14, size=(80, 60)), background) for time in range(8)]


@pytest.mark.parametrize("by", ["option", "environment"])
def test_videos_without_a_plain_background_use_the_model(
    tmp_path: Path, write_video_file, disc, over, rng, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    path = write_video_file("a.mkv", _on_noise(disc, over, rng), codec="ffv1", pix_fmt="bgr0")
    model = redness(tmp_path / "m.onnx", 64)
    if by == "environment":
        monkeypatch.setenv("DS4D_MATTING_MODEL", str(model))
    loaded = load_video(path, VideoConfig(size=64, matting_model=model if by == "option" else None))
    alpha = np.stack([loaded.video.frames.read(time, 0)[..., 3] for time in range(8)])
    area = np.pi * 14**2 * (64 / loaded.crop.side) ** 2
    assert (alpha > 127).sum(axis=(1, 2)) == pytest.approx(np.full(8, area), rel=0.1)


@pytest.mark.parametrize("matting", ["auto", "alpha", "color", "model"])
def test_videos_that_no_method_applies_to_are_refused(write_video_file, disc, over, rng, matting: str) -> None:
    path = write_video_file("a.mkv", _on_noise(disc, over, rng), codec="ffv1", pix_fmt="bgr0")
    with pytest.raises(ValueError, match="--matting-model"):
        load_video(path, VideoConfig(matting=matting))


def test_option_has_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matting_model_path(None) is None
    monkeypatch.setenv("DS4D_MATTING_MODEL", "~/b.onnx")
    assert matting_model_path(None) == Path("~/b.onnx").expanduser()
    assert matting_model_path(Path("a.onnx")) == Path("a.onnx")


def test_model_is_found_among_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path))
    (tmp_path / "matting").mkdir()
    assert matting_model_path(None) is None
    (tmp_path / "matting" / "u2net.onnx").write_bytes(b"1")
    assert matting_model_path(None) == tmp_path / "matting" / "u2net.onnx"


def test_invalid_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.onnx"):
        MattingModel(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.onnx"):
        MattingModel(tmp_path / "text.onnx")
    gray = write_model(tmp_path / "gray.onnx", 8, [helper.make_node("Relu", ["image"], ["matte"])], channels=1)
    with pytest.raises(ValueError, match=r"gray\.onnx.*\[1, 1, 8, 8\]"):
        MattingModel(gray)
    three = write_model(tmp_path / "three.onnx", 8, [helper.make_node("Relu", ["image"], ["matte"])])
    with pytest.raises(ValueError, match=r"three\.onnx.*\[1, 3, 8, 8\]"):
        MattingModel(three).alpha(opaque(np.zeros((9, 9, 3), np.uint8)))


def test_missing_onnxruntime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"\[matting\]"):
        MattingModel(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (helper.make_node("Reshape", ["image", "shape"], ["matte"]), {"shape": np.int64([7, 7])}),
        (helper.make_node("Gather", ["image", "row"], ["matte"], axis=1), {"row": np.int64([99])}),
        (helper.make_node("Log", ["image"], ["matte"]), {}),
        (helper.make_node("Reshape", ["image", "shape"], ["matte"]), {"shape": np.int64([-1])}),
        (
            helper.make_node("Slice", ["image", "start", "end"], ["matte"]),
            {"start": np.int64([0]), "end": np.int64([0])},
        ),
    ],
    ids=["fails while running", "index beyond", "NaN", "one axis", "empty"],
)
def test_models_that_give_no_matte_are_refused(tmp_path: Path, node: onnx.NodeProto, constants: dict) -> None:
    path = write_model(tmp_path / "bad.onnx", 8, [node], constants=constants)
    with pytest.raises(ValueError, match=r"bad\.onnx"):
        MattingModel(path).alpha(thirds(9))


def test_models_of_absurd_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"large\.onnx"):
        MattingModel(redness(tmp_path / "large.onnx", 100_000))


def test_external_data_stay_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 12)
    (tmp_path / "model").mkdir()
    path = redness(tmp_path / "model" / "a.onnx", 8)
    model = onnx.load(str(path))
    weights = model.graph.initializer[0]
    weights.ClearField("float_data")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../secret")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"a\.onnx"):
        MattingModel(path)
