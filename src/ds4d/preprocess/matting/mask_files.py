"""Masks that other programs made: one image per frame, as SAM, video matting or rotoscoping tools write them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from ds4d.io import Size, read_rgba, resize_premultiplied
from ds4d.io.image_sequence import ImageSequence

_MAX_ID = 16  # of 255: gray masks that are nowhere brighter hold numbers of objects
_COLORED = 32  # levels between the channels of a pixel: masks that are not gray give each object a color
_MIN_COLORED = 0.001  # of the pixels; compression colors some
_ASPECT = 0.02  # relative difference: sizes are rounded


def read_masks(folder: Path, frames: Sequence[int], total: int, size: Size) -> Iterator[Float32[np.ndarray, "H W"]]:
    """Reads the mask of each frame, in [0, 1].

    A mask is an image's alpha if it has one, else its brightness. Images with a color, or with a small number, per
    object are masks of all objects together.

    Args:
        folder: folder of the numbered images: one for each frame of the video, or for each of `frames`.
        frames: indices of the frames in the video.
        total: number of frames of the video.
        size: size of the frames, to which masks are resized.

    Raises:
        ValueError: The folder holds no images, another number of them, or images of another shape.
    """
    if not folder.is_dir():
        raise ValueError(f"--masks must be a folder of images, got {folder}. Check the path.")
    masks = ImageSequence(folder, None)
    if len(masks.files) == total:
        files = [masks.files[frame] for frame in frames]
    elif len(masks.files) == len(frames):
        files = masks.files
    else:
        raise ValueError(
            f"--masks {folder} must hold one image for each of the {total} frames of the video, or of the "
            f"{len(frames)} selected ones, got {len(masks.files)}. Add or remove some."
        )
    if abs(masks.size.width * size.height / (masks.size.height * size.width) - 1) > _ASPECT:
        raise ValueError(
            f"--masks {folder} must hold images of the video's shape, got {masks.size.width} x {masks.size.height}. "
            "Make them from the same video, without cropping."
        )
    return (_resized(_matte(read_rgba(file)), size) for file in files)


def _matte(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W"]:
    """The mask that an image holds, in [0, 255]."""
    if rgba[..., 3].min() < 255:
        return rgba[..., 3]
    brightest = rgba[..., :3].max(axis=-1)
    colored = (brightest - rgba[..., :3].min(axis=-1) > _COLORED).mean() > _MIN_COLORED
    if brightest.max() <= _MAX_ID:
        return np.where(brightest > 0, 255, 0).astype(np.uint8)
    return np.where(brightest > _COLORED, 255, 0).astype(np.uint8) if colored else brightest


def _resized(matte: UInt8[np.ndarray, "h w"], size: Size) -> Float32[np.ndarray, "H W"]:
    resized = resize_premultiplied(np.ascontiguousarray(np.repeat(matte[..., None], 4, axis=-1)), *size)
    return resized[..., 3].astype(np.float32) / 255
