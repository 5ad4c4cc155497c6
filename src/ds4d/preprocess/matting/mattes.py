"""The object without its background, by whichever way there is."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.matting.model import MODEL_VARIABLE, MattingModel, apply_matte, matting_model_path
from ds4d.preprocess.matting.plain_background import cut_plain, find_plain_background
from ds4d.preprocess.matting.smoothing import steady_mattes

ALPHA_FLOOR = 8  # of 255; fainter alpha is what compression and generators leave


class CutOut(NamedTuple):
    """The object alone.

    Attributes:
        pictures: premultiplied, everything that is not background.
        way: how it was told from the background.
    """

    pictures: list[UInt8[np.ndarray, "H W 4"]]
    way: Literal["alpha", "color", "model"]


def cut_out(pictures: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> CutOut:
    """Takes the background away: by the file's alpha, by a plain background's colour, or by a model, in this order.

    Args:
        pictures: of the clip, premultiplied, of one size.
        config: which way is asked for.

    Raises:
        ValueError: the way that is asked for cannot be gone, or none can.
        ImportError: a model is to be used and onnxruntime is not installed.
    """
    ways: dict[str, Callable[[], CutOut | None]] = {
        "alpha": lambda: _by_alpha(pictures),
        "color": lambda: _by_color(pictures, config),
        "model": lambda: _by_model(pictures, config),
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
        "film with alpha (webm, mov, or pictures in png); film before a plain background; or name the file of a "
        f"matting model (U2-Net, IS-Net or RMBG as onnx) with --matting-model or ${MODEL_VARIABLE}."
    )


def _by_alpha(pictures: Sequence[UInt8[np.ndarray, "H W 4"]]) -> CutOut | None:
    """None where the file's alpha is opaque everywhere, which says nothing."""
    if not any((picture[..., 3] < 255 - ALPHA_FLOOR).any() for picture in pictures):
        return None
    return CutOut([np.where(p[..., 3:] < ALPHA_FLOOR, 0, p).astype(np.uint8) for p in pictures], "alpha")


def _by_color(pictures: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> CutOut | None:
    background = find_plain_background(pictures)
    if background is None:
        return None
    cut = cut_plain(pictures, background, config.openings)
    return CutOut(list(tracked(cut, "cutting out the object", len(pictures))), "color")


def _by_model(pictures: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> CutOut | None:
    path = matting_model_path(config.matting_model)
    if path is None:
        return None
    model = MattingModel(path)
    alphas = steady_mattes([model.alpha(picture) for picture in tracked(pictures, "cutting out the object")])
    cut = [apply_matte(picture, alpha) for picture, alpha in zip(pictures, alphas, strict=True)]
    return CutOut([np.where(p[..., 3:] < ALPHA_FLOOR, 0, p).astype(np.uint8) for p in cut], "model")
