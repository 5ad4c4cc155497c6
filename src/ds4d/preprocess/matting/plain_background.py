"""Objects before a plain background, cut out by its color."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.preprocess.config import Openings
from ds4d.preprocess.matting.foreground import own_color
from ds4d.preprocess.regions import bounding_box, grow, region_areas, shrink, touching_border
from ds4d.preprocess.tracks import RegionTracks

_RING = 0.02  # width of the image's edge that is looked at, share of its smaller side
_SPREAD = 24.0  # levels of 255 by which a plain background may vary
_FRACTION = 0.7  # of the edge that must be plain over the clip: objects may touch it
_LEAST_TOLERANCE = 8.0  # levels; compression leaves as much beside an outline
_COLORFUL = 64.0  # levels between the strongest and the weakest channel
_HUE = 0.25  # of a colorful background's hue: what differs by less is still it
_HALO, _COLORFUL_HALO = 3.0, 2.0  # tolerances
_HALO_WIDTH = 5  # pixels from what is certainly background
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of BT.601
_LEAST_OPENING = 0.001  # of the object
_BLEND = 2  # pixels at the outline that mix object and background: antialiasing and halved color planes


@dataclass(frozen=True)
class PlainBackground:
    """A background of one color.

    Attributes:
        color: 0 to 255.
        tolerance: the largest difference that still counts as background, levels of 255.
    """

    color: tuple[float, float, float]
    tolerance: float

    @property
    def is_colorful(self) -> bool:
        """Whether it is far from every gray."""
        return max(self.color) - min(self.color) > _COLORFUL

    @property
    def halo(self) -> float:
        """The largest difference that compression and blending leave beside an outline."""
        return (_COLORFUL_HALO if self.is_colorful else _HALO) * self.tolerance

    def is_like(self, image: UInt8[np.ndarray, "H W 4"], most: float) -> Bool[np.ndarray, "H W"]:
        """Where an image differs from the background by at most so much."""
        return self.differences(self.offsets(image[..., :3].astype(np.float32))) <= most

    def offsets(self, colors: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N 3"]:
        """Colors less the background's."""
        return colors - np.array(self.color, colors.dtype)

    def differences(self, offsets: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """How unlike the background colors are, in the channel that is most so, from what `offsets` gives.

        Before a colorful background only the hue counts: shadows on a green screen are green.
        """
        if self.is_colorful:
            offsets = offsets - offsets.mean(axis=-1, keepdims=True)
        # Much faster than a maximum over the last axis.
        red, green, blue = np.moveaxis(np.abs(offsets), -1, 0)
        return np.maximum(np.maximum(red, green), blue)


def find_plain_background(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> PlainBackground | None:
    """The color that fills the images' edges over the whole clip; None where there is none."""
    edge = np.concatenate([_edge(image) for image in images]).astype(np.float32)
    red, green, blue = np.median(edge, axis=0).tolist()
    background = PlainBackground((red, green, blue), _LEAST_TOLERANCE)
    differences = background.differences(background.offsets(edge))
    plain = differences <= _SPREAD
    if plain.mean() < _FRACTION:
        return None
    noise = float(np.percentile(differences[plain], 99))
    hue = np.abs(np.array(background.color) - np.mean(background.color)).max() if background.is_colorful else 0.0
    return replace(background, tolerance=max(_LEAST_TOLERANCE, 1.5 * noise, _HUE * hue))


def matte_plain_background(
    images: Sequence[UInt8[np.ndarray, "H W 4"]], background: PlainBackground, openings: Openings = "auto"
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The images without their background: premultiplied, outlines soft and free of the background's color.

    Background is what has its color and is connected to the image's border, and some of what the object encloses.

    Args:
        images: a whole clip, opaque.
        background: of the clip.
        openings: which enclosed regions of the background's color are background. An object is hardly as colorful
            as a green screen by chance, but white eyes before white must not become holes.
    """
    outside = [_outside(background.is_like(image, background.tolerance)) for image in images]
    # Within the object compression leaves more: the sky under an arm is less plain than that round the object.
    like = [background.is_like(image, background.halo) for image in images]
    enclosed = [shrink(each & ~grow(out, 1), 1) for each, out in zip(like, outside, strict=True)]
    if openings == "keep":
        enclosed = [np.zeros_like(each) for each in enclosed]
    elif openings == "auto" and not background.is_colorful:
        least = _LEAST_OPENING * float(np.median([(~out).sum() for out in outside]))
        enclosed = opening_regions(enclosed, outside, least)
    for image, each, out, opening in zip(images, like, outside, enclosed, strict=True):
        yield _cut(image, out | (each & grow(opening, 2)), background)


def opening_regions(
    enclosed: Sequence[Bool[np.ndarray, "H W"]], outside: Sequence[Bool[np.ndarray, "H W"]], least_area: float
) -> list[Bool[np.ndarray, "H W"]]:
    """The enclosed regions that open at some time: the outside of the frame before or after covers a third of them.

    Args:
        enclosed: of every frame, regions that do not reach the outside.
        outside: of every frame.
        least_area: regions that never grow to as many pixels do not count; they are more often highlights.
    """
    tracks = RegionTracks(enclosed)
    opens, largest = np.zeros(tracks.count, bool), np.zeros(tracks.count)
    for now, (labels, areas, names) in enumerate(zip(tracks.labels, tracks.areas, tracks.names, strict=True)):
        np.maximum.at(largest, names, areas)
        for then in {now - 1, now + 1} & set(range(len(outside))):
            covered = region_areas(np.where(outside[then], labels, 0), len(areas))
            opens[names[3 * covered > areas]] = True
    return tracks.select(opens & (largest >= least_area))


def _outside(like: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """What is like the background and reaches the border, not through gaps of a pixel or two."""
    return like & grow(touching_border(shrink(like, 1)), 2)


def _cut(
    image: UInt8[np.ndarray, "H W 4"], behind: Bool[np.ndarray, "H W"], background: PlainBackground
) -> UInt8[np.ndarray, "H W 4"]:
    """One image without what is behind the object.

    At the outline a pixel C is taken to mix the object's color F, carried there from its inside, with the
    background's B: C = a F + (1 - a) B gives alpha a, and its premultiplied color is C - (1 - a) B.
    """
    out = np.zeros_like(image)
    solid = ~behind
    if not solid.any():
        return out
    box = bounding_box(solid)
    colors = image[box][..., :3].astype(np.float32)
    offsets = background.offsets(colors)
    difference = background.differences(offsets)
    solid = solid[box]
    halo = (difference <= background.halo) & grow(behind, _HALO_WIDTH)[box]
    blended = solid & (halo | grow(behind, _BLEND)[box])
    alpha = solid.astype(np.float32)
    alpha[blended] = _fraction_of_object(offsets, difference, solid, blended, background.halo)
    covered = np.rint(255 * alpha)[..., None]
    premultiplied = np.rint(colors - (1 - alpha[..., None]) * np.array(background.color, np.float32)).clip(0, covered)
    out[box] = np.concatenate((premultiplied, covered), axis=-1).astype(np.uint8)
    return out


def _fraction_of_object(
    offsets: Float[np.ndarray, "H W 3"],
    difference: Float[np.ndarray, "H W"],
    solid: Bool[np.ndarray, "H W"],
    blended: Bool[np.ndarray, "H W"],
    faint: float,
) -> Float[np.ndarray, " blended"]:
    """Alpha of the pixels at the outline, from colors less the background's (`offsets`) and their size."""
    own, found = own_color(offsets, solid & ~blended, blended)
    own[~found] = _strongest(offsets, difference, blended)[~found]  # thin parts have no inside
    strength = (own**2).sum(axis=-1)
    seen, whole = _weighed(offsets[blended]), _weighed(own)
    mixed = (seen * whole).sum(axis=-1) / np.maximum((whole**2).sum(axis=-1), 1e-6)
    # An object hardly unlike the background says nothing about how much of it is seen: there what is thick counts.
    thick = grow(shrink(solid, _BLEND), _BLEND)[blended]
    return np.where(strength < faint**2, thick, mixed.clip(0, 1)).astype(np.float32)


def _weighed(offsets: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 4"]:
    """Differences of colors as brightness, in all three channels, and hue, which videos hold at half the size."""
    brightness = offsets @ _LUMA[:, None]
    return np.concatenate((math.sqrt(3) * brightness, offsets - brightness), axis=-1)


def _strongest(
    offsets: Float[np.ndarray, "H W 3"], difference: Float[np.ndarray, "H W"], wanted: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "wanted 3"]:
    """For each pixel wanted, the one in reach that is least like the background."""
    rows, columns = np.nonzero(wanted)
    best, found = np.full(len(rows), -1.0), np.zeros((len(rows), 3), offsets.dtype)
    reach = range(-_BLEND, _BLEND + 1)
    for down, right in itertools.product(reach, reach):
        there = (rows + down).clip(0, wanted.shape[0] - 1), (columns + right).clip(0, wanted.shape[1] - 1)
        better = difference[there] > best
        best[better], found[better] = difference[there][better], offsets[there][better]
    return found


def _edge(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "S 3"]:
    """Pixels of the image's edge, a few thousand."""
    ring = max(2, round(_RING * min(image.shape[:2])))
    inner = np.zeros(image.shape[:2], bool)
    inner[ring:-ring, ring:-ring] = True
    pixels = image[..., :3][~inner]
    return pixels[:: max(1, len(pixels) // 4096)]
