"""The object without its background, by whichever way there is."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.matting.model import MODEL_VARIABLE, MattingModel, apply_matte, matting_model_path
from ds4d.preprocess.matting.plain_background import find_plain_background, matte_plain_background
from ds4d.preprocess.matting.smoothing import steady_mattes

ALPHA_FLOOR = 8  # of 255; fainter alpha is what compression and generators leave


class Mattes(NamedTuple):
    """The object alone.

    Attributes:
        images: premultiplied, everything that is not background.
        way: how it was told from the background.
    """

    images: list[UInt8[np.ndarray, "H W 4"]]
    way: Literal["alpha", "color", "model"]


def extract_mattes(images: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> Mattes:
    """Takes the background away: by the file's alpha, by a plain background's color, or by a model, in this order.

    Args:
        images: of the clip, premultiplied, of one size.
        config: which way is asked for.

    Raises:
        ValueError: the way that is asked for cannot be gone, or none can.
        ImportError: a model is to be used and onnxruntime is not installed.
    """
    ways: dict[str, Callable[[], Mattes | None]] = {
        "alpha": lambda: _by_alpha(images),
        "color": lambda: _by_color(images, config),
        "model": lambda: _by_model(images, config),
    }
    for name in ways if config.matting == "auto" else (config.matting,):
        if (result := ways[name]()) is not None:
            return result
    missing = {
        "auto": "frames without alpha, whose background is not plain, and no matting model",
        "alpha": "frames without alpha",
        "color": "a background that is not plain",
        "model": "no matting model",
    }
    raise ValueError(
        f"the object must be told from its background, got {missing[config.matting]}. There are three ways: save the "
        "video with alpha (webm, mov, or images in png); video before a plain background; or name the file of a "
        f"matting model (U2-Net, IS-Net or RMBG as onnx) with --matting-model or ${MODEL_VARIABLE}."
    )


def _by_alpha(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> Mattes | None:
    """None where the file's alpha is opaque everywhere, which says nothing."""
    if not any((image[..., 3] < 255 - ALPHA_FLOOR).any() for image in images):
        return None
    return Mattes([np.where(p[..., 3:] < ALPHA_FLOOR, 0, p).astype(np.uint8) for p in images], "alpha")


def _by_color(images: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> Mattes | None:
    background = find_plain_background(images)
    if background is None:
        return None
    cut = matte_plain_background(images, background, config.openings)
    return Mattes(list(tracked(cut, "cutting out the object", len(images))), "color")


def _by_model(images: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> Mattes | None:
    path = matting_model_path(config.matting_model)
    if path is None:
        return None
    model = MattingModel(path)
    alphas = steady_mattes([model.alpha(image) for image in tracked(images, "cutting out the object")])
    cut = [apply_matte(image, alpha) for image, alpha in zip(images, alphas, strict=True)]
    return Mattes([np.where(p[..., 3:] < ALPHA_FLOOR, 0, p).astype(np.uint8) for p in cut], "model")
