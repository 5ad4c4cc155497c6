"""Cut-outs by a pretrained matting model in an onnx file: U2-Net, IS-Net or RMBG 1.4."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ds4d.preprocess.matting.foreground import own_color
from ds4d.weights import MODELS, find_model, weights_file

MODEL_VARIABLE = "DS4D_MATTING_MODEL"
_SOLID = 0.95  # where alpha is at least this, a pixel shows nothing but the object


class _Style(NamedTuple):
    """What a family of models is fed: colors divided by the image's brightest value, less mean, over deviation."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


_U2NET = _Style((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's
_ISNET = _Style((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))  # RMBG's too
_LARGEST_U2NET = 512  # pixels; U2-Net works at 320, IS-Net and RMBG at 1024
_USUAL_SIZE = 1024  # of models that take any


def matting_model_path(path: Path | None) -> Path | None:
    """The model's file: the one given, the one $DS4D_MATTING_MODEL names, or the one in $DS4D_WEIGHTS; None if none."""
    if path:
        return path
    if named := os.environ.get(MODEL_VARIABLE):
        return Path(named).expanduser()
    model = MODELS["matting"]
    found = find_model(model)
    return weights_file(model.part(""), found) if found else None


class MattingModel:
    """A matting model.

    Args:
        path: onnx file with one input [1, 3, H, W]; its first output [1, 1, H, W] tells the object from the rest.

    Raises:
        ValueError: there is no such file, or it holds no such model.
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                "a matting model needs onnxruntime. Install it with: pip install 'ds4d[matting]'"
            ) from error
        if not path.is_file():
            raise ValueError(
                f"matting model {path} must be an onnx file, got nothing there. Correct --matting-model or "
                f"${MODEL_VARIABLE}."
            )
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
        except Exception as error:  # onnxruntime raises types of its own, none of them documented
            raise ValueError(
                f"matting model {path} must be an onnx file, got one that cannot be read "
                f"({str(error).splitlines()[0]}). Download it again."
            ) from error
        self._path = path
        given = self._session.get_inputs()[0]
        shape = given.shape
        if len(shape) != 4 or shape[1] != 3:
            raise ValueError(f"matting model {path} must take images [1, 3, H, W], got {shape}. Name another.")
        self._input = given.name
        self._height, self._width = (size if isinstance(size, int) else _USUAL_SIZE for size in shape[2:])
        self._style = _U2NET if max(self._height, self._width) <= _LARGEST_U2NET else _ISNET

    def alpha(self, frame: UInt8[np.ndarray, "H W 4"]) -> Float[np.ndarray, "H W"]:
        """Coverage by the object in [0, 1].

        Args:
            frame: opaque.
        """
        image = Image.fromarray(frame[..., :3]).resize((self._width, self._height), Image.Resampling.BILINEAR)
        colors = np.asarray(image, np.float32)
        colors = colors / max(float(colors.max()), 1.0)
        mean, deviation = np.array(self._style, np.float32)
        fed = (colors - mean) / deviation
        answer = np.asarray(self._session.run(None, {self._input: fed.transpose(2, 0, 1)[None]})[0], np.float32)
        if answer.size != answer.shape[-1] * answer.shape[-2]:
            raise ValueError(
                f"matting model {self._path} must give one map [1, 1, H, W], got {list(answer.shape)}. Name another."
            )
        answer = answer.reshape(answer.shape[-2:])
        spread = float(answer.max() - answer.min())
        matte = Image.fromarray((answer - answer.min()) / max(spread, 1e-6))
        return np.asarray(matte.resize(frame.shape[1::-1], Image.Resampling.BILINEAR)).clip(0, 1)


def apply_matte(image: UInt8[np.ndarray, "H W 4"], alpha: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 4"]:
    """The image behind a matte, premultiplied; pixels at the outline take the color of the inside beside them."""
    colors = image[..., :3].astype(np.float32)
    soft = (alpha > 0) & (alpha < _SOLID)
    own, found = own_color(colors, alpha >= _SOLID, soft)
    colors[soft] = np.where(found[:, None], own, colors[soft])
    covered = np.rint(255 * alpha)[..., None]
    premultiplied = np.minimum(np.rint(alpha[..., None] * colors), covered)
    return np.concatenate((premultiplied, covered), axis=-1).astype(np.uint8)
