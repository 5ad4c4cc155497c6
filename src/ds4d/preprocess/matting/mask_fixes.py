"""Corrected masks of single frames, carried over to the frames around them.

What a corrected mask adds or removes is cut into regions. Each is followed from frame to frame by the shift that
changes its colors the least (block matching), and is corrected in the same way as long as its colors are found again
and the automatic mask has the same fault there. Halfway to the next corrected frame, that one takes over.
"""

import re
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from ds4d.io import Size, reduced_size, resize_premultiplied
from ds4d.io.image_sequence import ImageSequence
from ds4d.preprocess.components import bounding_box, component_areas, dilate, label_components
from ds4d.preprocess.matting.foreground import apply_matte
from ds4d.preprocess.matting.mask_files import check_shape, read_mask

_OPTION = "--mask-fixes"
_SEARCH_SIDE = 192  # pixels of the longer side, at which regions are followed
_REACH = 0.04  # of the longer side: how far a region may move between two frames
_MIN_REGION = 4  # pixels at that size: smaller ones cannot be followed, and are corrected in their frame alone
_SURROUNDINGS = 2  # pixels around a region that are compared, too
_MAX_CHANGE = 20.0  # levels: mean color difference beyond which a region is lost
_MIN_FAULTY = 0.5  # fraction of a region that must be wrong in the automatic mask


@dataclass(frozen=True)
class _Region:
    """What a corrected mask changes in one place.

    Attributes:
        mask: the place, at the size of the frames.
        small: the same at the size at which it is followed.
    """

    mask: Bool[np.ndarray, "H W"]
    small: Bool[np.ndarray, "h w"]


def read_mask_fixes(folder: Path, frames: Sequence[int], size: Size) -> dict[int, Float32[np.ndarray, "H W"]]:
    """The corrected masks, in [0, 1], by the index of the selected frame.

    Args:
        folder: folder of images as `read_masks` takes them; the last number in each name is the frame of the video,
            counted from 1. A mask of a frame that is not selected is taken for the nearest one.
        frames: indices of the selected frames in the video, counted from 0.
        size: size of the frames, to which masks are resized.

    Raises:
        ValueError: The folder holds no images, or ones of another shape, without a number, or of other frames.
    """
    if not folder.is_dir():
        raise ValueError(f"{_OPTION} must be a folder of images, got {folder}. Check the path.")
    images = ImageSequence(folder, None)
    check_shape(folder, images.size, size, _OPTION)
    fixes = {}
    spacing = max(1, int(np.diff(frames).max(initial=1)))
    for file in images.files:
        numbers = re.findall(r"\d+", file.stem)
        index = int(numbers[-1]) - 1 if numbers else -1
        nearest = int(np.abs(np.asarray(frames) - index).argmin())
        if not numbers or abs(frames[nearest] - index) > spacing:
            raise ValueError(
                f"{_OPTION}: the name of {file} must end with the number of a frame, from {frames[0] + 1} to "
                f"{frames[-1] + 1}, got {numbers[-1] if numbers else 'none'}. Frames count from 1. Rename it."
            )
        fixes[nearest] = read_mask(file, size)
    return fixes


def apply_mask_fixes(
    images: MutableSequence[UInt8[np.ndarray, "H W 4"]],
    originals: Sequence[UInt8[np.ndarray, "H W 4"]],
    fixes: Mapping[int, Float[np.ndarray, "H W"]],
) -> list[int]:
    """Corrects the mattes of the frames with a corrected mask, and of those around them that have the same faults.

    Args:
        images: mattes of a clip, premultiplied; those that are corrected are replaced.
        originals: frames before matting, opaque.
        fixes: corrected masks, in [0, 1], by frame.

    Returns:
        The frames that were changed.
    """
    automatic = [image[..., 3] / np.float32(255) for image in images]
    small = [_small_colors(original) for original in originals]
    changed = {}
    for time, fix in fixes.items():
        changed[time] = fix.astype(np.float32)
        for region in _regions(automatic[time], fix, small[time].shape[:2]):
            for step in (1, -1):
                for other, shift in _followed(region, small, time, step, fixes):
                    place, wanted, was = (_moved(x, shift) for x in (region.mask, fix, automatic[time]))
                    is_faulty = np.abs(automatic[other] - was)[place] < 0.5
                    if not place.any() or is_faulty.mean() < _MIN_FAULTY:
                        continue
                    alpha = changed.get(other, automatic[other]).copy()
                    alpha[place] = wanted[place]
                    changed[other] = alpha
    for time, alpha in changed.items():
        images[time] = apply_matte(originals[time], alpha)
    return sorted(changed)


def _regions(
    automatic: Float[np.ndarray, "H W"], fix: Float[np.ndarray, "H W"], small: tuple[int, ...]
) -> Iterator[_Region]:
    """The places that a corrected mask changes, large enough to be followed."""
    labels, count = label_components(np.abs(fix - automatic) > 0.5)
    rows = np.arange(small[0]) * labels.shape[0] // small[0]
    columns = np.arange(small[1]) * labels.shape[1] // small[1]
    reach = 1 + labels.shape[1] // small[1]  # soft edges belong to the place
    for number in np.flatnonzero(component_areas(labels, count)) + 1:
        mask = labels == number
        reduced = mask[rows][:, columns]
        if reduced.sum() >= _MIN_REGION:
            yield _Region(dilate(mask, reach), reduced)


def _followed(
    region: _Region,
    small: Sequence[Float32[np.ndarray, "h w 3"]],
    time: int,
    step: int,
    fixes: Mapping[int, object],
) -> Iterator[tuple[int, tuple[float, float]]]:
    """The frames after (or before) `time` in which a region is found again, and its shift (rows, columns) there.

    Shifts are fractions of the height and width. The search ends halfway to the next frame with a corrected mask.
    """
    others = [abs(other - time) for other in fixes if (other - time) * step > 0]
    last = min(others) // 2 if others else len(small)
    height, width = region.small.shape
    most = max(1, round(_REACH * max(height, width)))
    row = column = 0
    where = dilate(region.small, _SURROUNDINGS)
    first = small[time][where]
    for distance in range(1, last + 1):
        other = time + step * distance
        if not 0 <= other < len(small):
            return
        before = small[other - step]
        here = np.roll(where, (row, column), (0, 1))
        window = bounding_box(here)
        inside = here[window]
        template = before[window][inside]
        best, best_shift = np.inf, (0, 0)
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                rows = slice(window[0].start + down, window[0].stop + down)
                columns = slice(window[1].start + right, window[1].stop + right)
                if rows.start < 0 or columns.start < 0 or rows.stop > height or columns.stop > width:
                    continue
                change = float(np.abs(small[other][rows, columns][inside] - template).mean())
                change += 0.01 * (abs(down) + abs(right))  # of equal ones, the smallest shift
                if change < best:
                    best, best_shift = change, (down, right)
        row, column = row + best_shift[0], column + best_shift[1]
        now = small[other][np.roll(where, (row, column), (0, 1))]
        if max(best, float(np.abs(now - first).mean())) > _MAX_CHANGE:  # lost, at once or by drifting away
            return
        yield other, (row / height, column / width)


def _moved(values: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """An array moved by fractions of its height and width; zeros come in."""
    down, right = round(shift[0] * values.shape[0]), round(shift[1] * values.shape[1])
    out = np.zeros_like(values)
    height, width = values.shape
    source = values[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    out[max(0, down) : max(0, down) + source.shape[0], max(0, right) : max(0, right) + source.shape[1]] = source
    return out


def _small_colors(image: UInt8[np.ndarray, "H W 4"]) -> Float32[np.ndarray, "h w 3"]:
    size = reduced_size(Size(image.shape[1], image.shape[0]), _SEARCH_SIDE)
    return resize_premultiplied(image, *size)[..., :3].astype(np.float32)
