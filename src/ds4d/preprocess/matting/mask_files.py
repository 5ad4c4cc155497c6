"""Masks that other programs made: one image per frame, as SAM, video matting or rotoscoping tools write them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from ds4d.io import Size, read_rgba, resize_premultiplied
from ds4d.io.image_sequence import ImageSequence

_MAX_ID = 16  # of 255: gray masks that are nowhere brighter hold numbers of objects
_COLORED = 32  # levels between the channels of a pixel: masks that are not gray give each object a color
_MIN_COLORED = 0.001  # of the pixels; compression colors some
_ASPECT = 0.02  # relative difference: sizes are rounded


def read_masks(
    folder: Path,
    frames: Sequence[int],
    total: int,
    size: Size,
    *,
    object_id: int | None = None,
    option: str = "--masks",
) -> Iterator[Float32[np.ndarray, "H W"]]:
    """Reads the mask of each frame, in [0, 1].

    A mask is an image's alpha if it has one, else its brightness. Images with a color, or with a small number, per
    object are masks of all objects together, or of the one with the number `object_id`.

    Args:
        folder: folder of the numbered images: one for each frame of the video, or for each of `frames`.
        frames: indices of the frames in the video.
        total: number of frames of the video.
        size: size of the frames, to which masks are resized.
        object_id: number of the object in gray images or in the palette of colored ones; all objects if None.
        option: option that names the folder, for errors.

    Raises:
        ValueError: The folder holds no images, another number of them, or images of another shape; or an image holds no
            numbers of objects.
    """
    if not folder.is_dir():
        raise ValueError(f"{option} must be a folder of images, got {folder}. Check the path.")
    masks = ImageSequence(folder, None)
    if len(masks.files) == total:
        files = [masks.files[frame] for frame in frames]
    elif len(masks.files) == len(frames):
        files = masks.files
    else:
        raise ValueError(
            f"{option} {folder} must hold one image for each of the {total} frames of the video, or of the "
            f"{len(frames)} selected ones, got {len(masks.files)}. Add or remove some."
        )
    check_shape(folder, masks.size, size, option)
    if object_id is not None:
        return (_resized(_matte_of_object(file, object_id), size) for file in files)
    return (read_mask(file, size) for file in files)


def read_mask(file: Path, size: Size) -> Float32[np.ndarray, "H W"]:
    """The mask in one image, of all objects, in [0, 1]; see `read_masks`."""
    return _resized(_matte(read_rgba(file)), size)


def check_shape(folder: Path, got: Size, size: Size, option: str) -> None:
    """Refuses images of another shape than that of the video.

    Raises:
        ValueError: they have one; the message names the option and the folder.
    """
    if abs(got.width * size.height / (got.height * size.width) - 1) > _ASPECT:
        raise ValueError(
            f"{option} {folder} must hold images of the video's shape, got {got.width} x {got.height}. "
            "Make them from the same video, without cropping."
        )


def _matte_of_object(file: Path, object_id: int) -> UInt8[np.ndarray, "H W"]:
    with Image.open(file) as image:
        if image.mode not in ("P", "L", "I", "I;16", "1"):
            raise ValueError(
                f"--object-id needs masks with the number of an object in each pixel (gray, or colored by a palette), "
                f"got {file} of mode {image.mode}. Leave it out, or save such masks."
            )
        numbers = np.asarray(image)
    return np.where(numbers == object_id, 255, 0).astype(np.uint8)


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
