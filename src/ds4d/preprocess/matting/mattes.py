"""Mattes of a clip by one of three methods: the file's alpha, a plain background's color, or a matting model."""

from collections.abc import Callable, Iterable, MutableSequence, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.core import ArrayList, tracked
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.matting.foreground import apply_matte
from ds4d.preprocess.matting.model import MODEL_VARIABLE, matting_model_path
from ds4d.preprocess.matting.plain_background import find_plain_background, matte_plain_background
from ds4d.preprocess.matting.smoothing import smooth_mattes
from ds4d.preprocess.matting.video_model import open_matting_model

_MIN_ALPHA = 8  # of 255: smaller values are left by compression and by generators
_WORK = "matting"  # the name of the progress


class Mattes(NamedTuple):
    """The foreground of a clip.

    Attributes:
        images: foreground of each frame, premultiplied, 0 where there is background.
        method: how foreground and background were separated.
        background_colored: by frame, the pixels that have the plain background's color, inside the object or not;
            none for the other methods.
    """

    images: MutableSequence[UInt8[np.ndarray, "H W 4"]]
    method: Literal["alpha", "color", "model", "masks"]
    background_colored: Sequence[Bool[np.ndarray, "H W"]] = ()


def extract_mattes(images: MutableSequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> Mattes:
    """Removes the background by the file's alpha, a plain background's color, or a matting model, in this order.

    Args:
        images: frames of a clip, premultiplied, of one size. Each is replaced in the list by its matte, so that there
            is one copy of the clip.
        config: the method to use.

    Raises:
        ValueError: The method does not apply to these frames, or none does.
        ImportError: A model is to be used and onnxruntime is not installed.
    """
    methods: dict[str, Callable[[], Mattes | None]] = {
        "alpha": lambda: _by_alpha(images),
        "color": lambda: _by_color(images, config),
        "model": lambda: _by_model(images, config),
    }
    for name in methods if config.matting == "auto" else (config.matting,):
        if (mattes := methods[name]()) is not None:
            return mattes
    missing = {
        "auto": "frames without alpha, without a plain background, and no matting model",
        "alpha": "frames without alpha",
        "color": "frames without a plain background",
        "model": "no matting model",
    }
    raise ValueError(
        f"the object must be separable from its background, got {missing[config.matting]}. Either save the video with "
        "alpha (webm, mov, or png images), record it in front of a plain background, get a matting model by `ds4d "
        "weights fetch matting` (or name an onnx file of U2-Net, IS-Net or RMBG by --matting-model or "
        f"${MODEL_VARIABLE}), or give masks of another program with --masks."
    )


def apply_masks(
    images: MutableSequence[UInt8[np.ndarray, "H W 4"]], masks: Iterable[Float[np.ndarray, "H W"]]
) -> Mattes:
    """Removes the background by masks that another program made.

    Args:
        images: opaque frames of a clip, of one size. Each is replaced in the list by its matte.
        masks: mask of each frame, in [0, 1].
    """
    for time, alpha in enumerate(tracked(masks, _WORK, len(images))):
        images[time] = _without_faint_alpha(apply_matte(images[time], alpha))
    return Mattes(images, "masks")


def _by_alpha(images: MutableSequence[UInt8[np.ndarray, "H W 4"]]) -> Mattes | None:
    """None if the file's alpha is opaque everywhere."""
    if not any((image[..., 3] < 255 - _MIN_ALPHA).any() for image in images):
        return None
    for time, image in enumerate(images):
        images[time] = _without_faint_alpha(image)
    return Mattes(images, "alpha")


def _by_color(images: MutableSequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> Mattes | None:
    """None if the background is not plain."""
    background = find_plain_background(images)
    if background is None:
        return None
    mattes = matte_plain_background(images, background, config.holes)
    background_colored = ArrayList()
    for time, matte in enumerate(tracked(mattes, _WORK, len(images))):
        images[time] = matte.image
        background_colored.append(matte.background_colored)
    return Mattes(images, "color", background_colored)


def _by_model(images: MutableSequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> Mattes | None:
    """None if there is no model."""
    path = matting_model_path(config.matting_model)
    if path is None:
        return None
    model = open_matting_model(path)
    # Smoothing is one frame behind the model, so no frame is replaced before the model has read it.
    for time, alpha in enumerate(smooth_mattes(model.alphas(tracked(images, _WORK)))):
        images[time] = _without_faint_alpha(apply_matte(images[time], alpha))
    return Mattes(images, "model")


def _without_faint_alpha(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    return np.where(image[..., 3:] < _MIN_ALPHA, 0, image).astype(np.uint8)
