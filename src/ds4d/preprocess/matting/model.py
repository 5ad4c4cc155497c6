"""A pretrained matting model in an onnx file: U2-Net, IS-Net or RMBG 1.4."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ds4d.core import install_command
from ds4d.io import check_regular
from ds4d.weights import MODELS, find_model, weights_file

MODEL_VARIABLE = "DS4D_MATTING_MODEL"


class _Normalization(NamedTuple):
    """Input normalization of a family of models: colors divided by the image's maximum, minus mean, over std."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_U2NET = _Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet statistics
_ISNET = _Normalization((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))  # also RMBG
_MAX_U2NET_SIZE = 512  # pixels; U2-Net runs at 320, IS-Net and RMBG at 1024
_DEFAULT_SIZE = 1024  # pixels, of models that accept any size
_MAX_SIZE = 4096  # pixels, of inputs and outputs
_MAX_BYTES = 2**31  # of a file of this format


def matting_model_path(path: Path | None) -> Path | None:
    """The model's file: `path`, $DS4D_MATTING_MODEL, or the one in $DS4D_WEIGHTS; None if there is none of these."""
    if path:
        return path
    if from_environment := os.environ.get(MODEL_VARIABLE):
        return Path(os.path.expanduser(from_environment))
    model = MODELS["matting"]
    found = find_model(model)
    return weights_file(model.part(""), found) if found else None


def open_session(path: Path) -> Any:
    """The onnxruntime session of a matting model.

    Raises:
        ValueError: the file does not exist, or is damaged.
        ImportError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"a matting model needs onnxruntime. Install it with: {install_command('matting')}"
        ) from error
    if not path.is_file():
        raise ValueError(
            f"matting model {path} must be an onnx file, got nothing there. Correct --matting-model or "
            f"${MODEL_VARIABLE}."
        )
    try:
        check_regular(path, max_bytes=_MAX_BYTES)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; the log would print names from the file as they are
        providers = onnxruntime.get_available_providers()
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime raises types of its own, which are not documented
        raise ValueError(
            f"matting model {path} must be an onnx file, got one that is damaged ({reason(error)}). Download it again."
        ) from error


class MattingModel:
    """A matting model; runs frame by frame.

    Args:
        path: onnx file with one input [1, 3, H, W] and the matte [1, 1, H, W] as its first output.
        session: its session (`open_session`), if it is open.

    Raises:
        ValueError: The file does not exist, or is not such a model.
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, session: Any = None) -> None:
        self._session = session or open_session(path)
        self._path = path
        model_input = self._session.get_inputs()[0]
        shape = model_input.shape
        if len(shape) != 4 or shape[1] != 3:
            raise ValueError(f"matting model {path} must take images [1, 3, H, W], got {shape}. Use another model.")
        self._input = model_input.name
        self._height, self._width = (size if isinstance(size, int) else _DEFAULT_SIZE for size in shape[2:])
        if not (1 <= self._height <= _MAX_SIZE and 1 <= self._width <= _MAX_SIZE):
            raise ValueError(
                f"matting model {path} must take images of 1 to {_MAX_SIZE} pixels, got {shape}. Use another model."
            )
        self._normalization = _U2NET if max(self._height, self._width) <= _MAX_U2NET_SIZE else _ISNET

    def alphas(self, frames: Iterable[UInt8[np.ndarray, "H W 4"]]) -> Iterator[Float[np.ndarray, "H W"]]:
        """The mattes of the frames of a clip (`alpha`)."""
        return map(self.alpha, frames)

    def alpha(self, frame: UInt8[np.ndarray, "H W 4"]) -> Float[np.ndarray, "H W"]:
        """The matte of one frame, in [0, 1].

        Args:
            frame: an opaque frame.

        Raises:
            ValueError: the model cannot be run on images of its own size, or gives no matte.
        """
        image = Image.fromarray(frame[..., :3]).resize((self._width, self._height), Image.Resampling.BILINEAR)
        colors = np.asarray(image, np.float32)
        colors = colors / max(float(colors.max()), 1.0)
        mean, std = np.array(self._normalization, np.float32)
        inputs = ((colors - mean) / std).transpose(2, 0, 1)[None]
        try:
            output = np.asarray(self._session.run(None, {self._input: inputs})[0], np.float32)
        except Exception as error:  # onnxruntime raises types of its own, and its outputs need not be arrays
            raise ValueError(
                f"matting model {self._path} must run on images of {self._width} x {self._height}, got an error "
                f"({reason(error)}). Use another model."
            ) from error
        if output.ndim < 2 or not output.size or output.size != output.shape[-1] * output.shape[-2]:
            raise ValueError(
                f"matting model {self._path} must give one matte [1, 1, H, W], got {list(output.shape)}. Use another "
                "model."
            )
        if max(output.shape) > _MAX_SIZE or not np.isfinite(output).all():
            raise ValueError(
                f"matting model {self._path} must give finite mattes of at most {_MAX_SIZE} pixels, got others. Use "
                "another model."
            )
        output = output.reshape(output.shape[-2:])
        value_range = float(output.max() - output.min())
        matte = Image.fromarray((output - output.min()) / max(value_range, 1e-6))
        return np.asarray(matte.resize(frame.shape[1::-1], Image.Resampling.BILINEAR)).clip(0, 1)


def reason(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
