"""Chroma keying: objects in front of a plain background."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.core import ArrayList
from ds4d.preprocess.components import (
    at_border,
    bounding_box,
    component_areas,
    dilate,
    erode,
    label_components,
    select_components,
)
from ds4d.preprocess.config import Holes
from ds4d.preprocess.matting.foreground import estimate_foreground
from ds4d.preprocess.tracking import ComponentTracks

_RING = 0.02  # width of the ring along the image border that is examined, of the shorter side
_RING_SAMPLES, _MIN_RING_SAMPLES, _ALL_RING_SAMPLES = 4096, 64, 2**20  # pixels of a frame; of all frames
_MAX_SPREAD = 24.0  # levels of 255 by which a plain background may vary
_MIN_PLAIN = 0.7  # of the ring's pixels over the clip: objects may touch the border
_MIN_TOLERANCE = 8.0  # levels of 255: compression leaves as much beside an outline
_COLORFUL = 64.0  # levels between the strongest and the weakest channel
_HUE_TOLERANCE = 0.25  # of a colorful background's hue
_HALO, _COLORFUL_HALO = 3.0, 2.0  # in tolerances
_HALO_WIDTH = 5  # pixels from what is certainly background
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_MIN_HOLE = 0.001  # of the object's area
_BLEND = 2  # pixels at the outline that mix object and background: antialiasing and chroma subsampling


@dataclass(frozen=True)
class PlainBackground:
    """A background of one color.

    Attributes:
        color: red, green and blue, 0 to 255.
        tolerance: largest difference from the color that still is background, in levels of 255.
    """

    color: tuple[float, float, float]
    tolerance: float

    @property
    def is_colorful(self) -> bool:
        """Whether the color is far from every gray."""
        return max(self.color) - min(self.color) > _COLORFUL

    @property
    def halo(self) -> float:
        """Largest difference from the color that compression and blending leave beside an outline, in levels."""
        return (_COLORFUL_HALO if self.is_colorful else _HALO) * self.tolerance

    def image_differences(self, image: UInt8[np.ndarray, "H W 4"]) -> Float[np.ndarray, "H W"]:
        """Difference of each pixel of an image from the background, in levels of 255."""
        return self.differences(self.offsets(image[..., :3].astype(np.float32)))

    def offsets(self, colors: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N 3"]:
        """Colors minus the background color."""
        return colors - np.array(self.color, colors.dtype)

    def differences(self, offsets: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """Magnitude of the `offsets` of colors from the background, the largest over the channels.

        In front of a colorful background only the hue counts: shadows on a green screen are green.
        """
        if self.is_colorful:
            offsets = offsets - offsets.mean(axis=-1, keepdims=True)
        # Much faster than a maximum over the last axis.
        red, green, blue = np.moveaxis(np.abs(offsets), -1, 0)
        return np.maximum(np.maximum(red, green), blue)


class PlainMatte(NamedTuple):
    """The matte of one frame in front of a plain background.

    Attributes:
        image: foreground, premultiplied, with soft outlines that are free of the background's color.
        background_colored: pixels within the background's tolerance, inside the object or not.
    """

    image: UInt8[np.ndarray, "H W 4"]
    background_colored: Bool[np.ndarray, "H W"]


def find_plain_background(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> PlainBackground | None:
    """The color along the image borders of a clip; None if there is no such color."""
    samples = max(_MIN_RING_SAMPLES, min(_RING_SAMPLES, _ALL_RING_SAMPLES // len(images)))
    ring = np.concatenate([_border_ring(image, samples) for image in images]).astype(np.float32)
    red, green, blue = np.median(ring, axis=0).tolist()
    background = PlainBackground((red, green, blue), _MIN_TOLERANCE)
    differences = background.differences(background.offsets(ring))
    plain = differences <= _MAX_SPREAD
    if plain.mean() < _MIN_PLAIN:
        return None
    noise = float(np.percentile(differences[plain], 99))
    hue = np.abs(np.array(background.color) - np.mean(background.color)).max() if background.is_colorful else 0.0
    return replace(background, tolerance=max(_MIN_TOLERANCE, 1.5 * noise, _HUE_TOLERANCE * hue))


def matte_plain_background(
    images: Sequence[UInt8[np.ndarray, "H W 4"]], background: PlainBackground, holes: Holes = "auto"
) -> Iterator[PlainMatte]:
    """Mattes of a clip: background is what has its color and is connected to the image border, and some of the holes.

    Args:
        images: all frames of the clip, opaque; each may be dropped once its matte has been yielded.
        background: background of the clip.
        holes: whether enclosed regions of the background's color are background. By chance an object is hardly as
            colorful as a green screen, but white eyes in front of white must not become holes.
    """
    outside, enclosed = ArrayList(), ArrayList()
    for image in images:
        difference = background.image_differences(image)
        out = _outside(difference <= background.tolerance)
        outside.append(out)
        # Compression leaves more inside an object: the background below an arm is less plain than that around it.
        within_halo = difference <= background.halo
        enclosed.append(erode(within_halo & ~dilate(out, 1), 1))
    if holes == "auto" and not background.is_colorful:
        min_area = _MIN_HOLE * float(np.median([(~out).sum() for out in outside]))
        enclosed = opening_holes(enclosed, outside, min_area)
    for image, out, hole in zip(images, outside, enclosed, strict=True):
        difference = background.image_differences(image)
        behind = out
        if holes != "keep" and hole.any():
            behind = out | ((difference <= background.halo) & dilate(hole, 2))
        yield PlainMatte(_matte(image, difference, behind, background), difference <= background.tolerance)


def opening_holes(
    enclosed: Sequence[Bool[np.ndarray, "H W"]], outside: Sequence[Bool[np.ndarray, "H W"]], min_area: float
) -> Iterator[Bool[np.ndarray, "H W"]]:
    """The enclosed regions that open at some time: a third is outside in the previous or the next frame.

    Args:
        enclosed: by frame, the regions of the background's color that are not connected to the outside.
        outside: by frame, the background that is connected to the image border.
        min_area: regions that stay below this many pixels are ignored; they tend to be highlights.
    """
    tracked = ComponentTracks(enclosed)
    opens, largest = np.zeros(tracked.count, bool), np.zeros(tracked.count)
    for now, (labels, areas, tracks) in enumerate(zip(tracked.labels, tracked.areas, tracked.tracks, strict=True)):
        np.maximum.at(largest, tracks, areas)
        for neighbor in {now - 1, now + 1} & set(range(len(outside))):
            covered = component_areas(np.where(outside[neighbor], labels, 0), len(areas))
            opens[tracks[3 * covered > areas]] = True
    return tracked.select(opens & (largest >= min_area))


def _outside(background_colored: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Background that is connected to the image border, not through gaps of a pixel or two."""
    labels, count = label_components(erode(background_colored, 1))
    return background_colored & dilate(select_components(labels, at_border(labels, count)), 2)


def _matte(
    image: UInt8[np.ndarray, "H W 4"],
    difference: Float[np.ndarray, "H W"],
    behind: Bool[np.ndarray, "H W"],
    background: PlainBackground,
) -> UInt8[np.ndarray, "H W 4"]:
    """The matte of one image.

    At the outline a pixel C mixes the foreground color F, estimated from the object's interior, with the background
    color B: C = a F + (1 - a) B gives alpha a, and its premultiplied color is C - (1 - a) B.

    Args:
        image: an opaque image.
        difference: difference of its pixels from the background, in levels of 255.
        behind: background pixels.
        background: background of the clip.
    """
    out = np.zeros_like(image)
    solid = ~behind
    if not solid.any():
        return out
    box = bounding_box(solid)
    colors = image[box][..., :3].astype(np.float32)
    offsets = background.offsets(colors)
    difference, solid = difference[box], solid[box]
    halo = (difference <= background.halo) & dilate(behind, _HALO_WIDTH)[box]
    blended = solid & (halo | dilate(behind, _BLEND)[box])
    alpha = solid.astype(np.float32)
    alpha[blended] = _blended_alpha(offsets, difference, solid, blended, background.halo)
    covered = np.rint(255 * alpha)[..., None]
    premultiplied = np.rint(colors - (1 - alpha[..., None]) * np.array(background.color, np.float32)).clip(0, covered)
    out[box] = np.concatenate((premultiplied, covered), axis=-1).astype(np.uint8)
    return out


def _blended_alpha(
    offsets: Float[np.ndarray, "H W 3"],
    difference: Float[np.ndarray, "H W"],
    solid: Bool[np.ndarray, "H W"],
    blended: Bool[np.ndarray, "H W"],
    halo: float,
) -> Float[np.ndarray, " blended"]:
    """Alpha of the pixels at the outline, from the colors minus the background's (`offsets`) and their magnitude."""
    foreground, found = estimate_foreground(offsets, solid & ~blended, blended)
    foreground[~found] = _strongest(offsets, difference, blended, ~found)  # thin parts have no interior
    strength = (foreground**2).sum(axis=-1)
    seen, full = _luma_chroma(offsets[blended]), _luma_chroma(foreground)
    mixed = (seen * full).sum(axis=-1) / np.maximum((full**2).sum(axis=-1), 1e-6)
    # If the object's color is close to the background's, the ratio is meaningless: what is thick is opaque.
    thick = dilate(erode(solid, _BLEND), _BLEND)[blended]
    return np.where(strength < halo**2, thick, mixed.clip(0, 1)).astype(np.float32)


def _luma_chroma(offsets: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 4"]:
    """Color differences as luma, weighted as three channels, and chroma, which videos store at half the resolution."""
    luma = offsets @ _LUMA[:, None]
    return np.concatenate((math.sqrt(3) * luma, offsets - luma), axis=-1)


def _strongest(
    offsets: Float[np.ndarray, "H W 3"],
    difference: Float[np.ndarray, "H W"],
    blended: Bool[np.ndarray, "H W"],
    wanted: Bool[np.ndarray, " blended"],
) -> Float[np.ndarray, "wanted 3"]:
    """For each wanted one of the blended pixels, the offset nearby that differs most from the background."""
    rows, columns = (indices[wanted] for indices in np.nonzero(blended))
    best, found = np.full(len(rows), -1.0), np.zeros((len(rows), 3), offsets.dtype)
    steps = range(-_BLEND, _BLEND + 1)
    for down, right in itertools.product(steps, steps):
        there = (rows + down).clip(0, blended.shape[0] - 1), (columns + right).clip(0, blended.shape[1] - 1)
        better = difference[there] > best
        best[better], found[better] = difference[there][better], offsets[there][better]
    return found


def _border_ring(image: UInt8[np.ndarray, "H W 4"], samples: int) -> UInt8[np.ndarray, "S 3"]:
    """Colors of about so many pixels along the image border, or of all if they are fewer."""
    width = max(2, round(_RING * min(image.shape[:2])))
    inner = np.zeros(image.shape[:2], bool)
    inner[width:-width, width:-width] = True
    colors = image[..., :3][~inner]
    return colors[:: max(1, len(colors) // samples)]
