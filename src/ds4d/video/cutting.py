"""The object without its background, by whichever way there is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from ds4d.video.config import VideoConfig
from ds4d.video.plain_background import cut_plain, find_plain_background

_ALPHA_FLOOR = 8  # of 255; fainter alpha is what compression and generators leave


def has_alpha(pictures: Sequence[UInt8[np.ndarray, "H W 4"]]) -> bool:
    """Whether the pictures are cut out; alpha that is opaque everywhere says nothing."""
    return any((picture[..., 3] < 255 - _ALPHA_FLOOR).any() for picture in pictures)


def cut_out(pictures: Sequence[UInt8[np.ndarray, "H W 4"]], config: VideoConfig) -> list[UInt8[np.ndarray, "H W 4"]]:
    """The object alone, premultiplied.

    Args:
        pictures: of the clip, premultiplied, of one size.
        config: which way is asked for.

    Raises:
        ValueError: the way that is asked for cannot be gone, or none can.
    """
    if config.matting in ("auto", "alpha") and has_alpha(pictures):
        return [np.where(picture[..., 3:] < _ALPHA_FLOOR, 0, picture).astype(np.uint8) for picture in pictures]
    background = find_plain_background(pictures)
    if config.matting in ("auto", "color") and background is not None:
        return list(cut_plain(pictures, background))
    raise ValueError(
        "the object must be told from its background, got frames without alpha whose background is not plain. "
        "Save the film with alpha (webm, mov or png), or film before a plain background, or give a matting model "
        "with --matting-model."
    )
