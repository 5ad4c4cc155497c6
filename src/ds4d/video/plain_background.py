"""Objects before a plain background, cut out by its colour."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from ds4d.video.foreground import spread_inside
from ds4d.video.regions import (
    bounding_box,
    grow,
    label_regions,
    region_areas,
    shrink,
    smallest_connected,
    touching_border,
)

_RING = 0.02  # width of the picture's edge that is looked at, share of its smaller side
_SPREAD = 24.0  # levels of 255 by which a plain background may vary
_SHARE = 0.7  # of the edge that must be plain over the clip: objects may touch it
_LEAST_TOLERANCE = 8.0  # levels; compression leaves as much beside an outline
_COLORFUL = 64.0  # levels between the strongest and the weakest channel
_BLEND = 2  # pixels at the outline that mix object and background: antialiasing and halved colour planes


@dataclass(frozen=True)
class PlainBackground:
    """A background of one colour.

    Attributes:
        color: 0 to 255.
        tolerance: the largest difference in any channel that still counts as background, levels of 255.
    """

    color: tuple[float, float, float]
    tolerance: float

    @property
    def is_colorful(self) -> bool:
        """Whether it is far from every grey."""
        return max(self.color) - min(self.color) > _COLORFUL


def find_plain_background(pictures: Sequence[UInt8[np.ndarray, "H W 4"]]) -> PlainBackground | None:
    """The colour that fills the pictures' edges over the whole clip; None where there is none."""
    edge = np.concatenate([_edge(picture) for picture in pictures]).astype(np.float32)
    color = np.median(edge, axis=0)
    differences = np.abs(edge - color).max(axis=1)
    plain = differences <= _SPREAD
    if plain.mean() < _SHARE:
        return None
    noise = float(np.percentile(differences[plain], 99))
    red, green, blue = color.tolist()
    return PlainBackground((red, green, blue), max(_LEAST_TOLERANCE, 1.5 * noise))


def cut_plain(
    pictures: Sequence[UInt8[np.ndarray, "H W 4"]], background: PlainBackground
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The pictures without their background: premultiplied, outlines soft and free of the background's colour.

    Background is what has its colour and is connected to the picture's border, and the openings of the object: enclosed
    regions of that colour which join the background before or after (an arm on a hip), and all of them where the
    background is colourful, since an object is hardly so by chance. Else what the object encloses stays, so that white
    eyes before white do not become holes.

    Args:
        pictures: a whole clip, opaque.
        background: of the clip.
    """
    like = [_likeness(picture, background) for picture in pictures]
    outside = [_outside(each) for each in like]
    enclosed = [shrink(each & ~out, 1) for each, out in zip(like, outside, strict=True)]
    openings = enclosed if background.is_colorful else opening_regions(enclosed, outside)
    for picture, each, out, opening in zip(pictures, like, outside, openings, strict=True):
        yield _cut(picture, out | (each & grow(opening, 2)), background)


def opening_regions(
    enclosed: Sequence[Bool[np.ndarray, "H W"]], outside: Sequence[Bool[np.ndarray, "H W"]]
) -> list[Bool[np.ndarray, "H W"]]:
    """The enclosed regions that are open to the outside at some time.

    A region opens where the outside of the frame before or after covers half of it; it is the same region as one of the
    frame before where they share half of the smaller one.
    """
    labels, counts = zip(*map(label_regions, enclosed), strict=True)
    firsts = np.cumsum((0, *counts))  # the regions of all frames are numbered through
    is_open = np.zeros(firsts[-1], bool)
    links: list[tuple[int, int]] = []
    for now in range(len(enclosed)):
        areas = region_areas(labels[now], counts[now])
        for then in {now - 1, now + 1} & set(range(len(enclosed))):
            covered = region_areas(labels[now] * outside[then], counts[now])
            is_open[firsts[now] : firsts[now + 1]] |= 2 * covered > areas
        if now > 0:
            before = region_areas(labels[now - 1], counts[now - 1])
            pairs, shared = _overlaps(labels[now - 1], labels[now])
            same = 2 * shared > np.minimum(before[pairs[0]], areas[pairs[1]])
            links += zip(firsts[now - 1] + pairs[0][same], firsts[now] + pairs[1][same], strict=True)
    earlier, later = np.array(links, int).reshape(-1, 2).T
    names = smallest_connected(len(is_open), earlier, later)
    ever_open = np.bincount(names[is_open], minlength=len(is_open)).astype(bool)[names]
    return [
        np.concatenate(([False], ever_open[first : first + count]))[each]
        for first, count, each in zip(firsts, counts, labels, strict=False)
    ]


def _overlaps(
    first: Int[np.ndarray, "H W"], second: Int[np.ndarray, "H W"]
) -> tuple[Int[np.ndarray, "2 pairs"], Int[np.ndarray, " pairs"]]:
    """Which regions (from 0 on) of two pictures overlap, and in how many pixels."""
    both = (first > 0) & (second > 0)
    pairs, shared = np.unique(np.stack((first[both], second[both])) - 1, axis=1, return_counts=True)
    return pairs, shared


def _likeness(picture: UInt8[np.ndarray, "H W 4"], background: PlainBackground) -> Bool[np.ndarray, "H W"]:
    color = np.array(background.color, np.float32)
    return np.abs(picture[..., :3] - color).max(axis=-1) <= background.tolerance


def _outside(like: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """What is like the background and reaches the border, not through gaps of a pixel or two."""
    return like & grow(touching_border(shrink(like, 1)), 2)


def _cut(
    picture: UInt8[np.ndarray, "H W 4"], behind: Bool[np.ndarray, "H W"], background: PlainBackground
) -> UInt8[np.ndarray, "H W 4"]:
    """One picture without what is behind the object.

    At the outline a pixel C is taken to mix the object's colour F, carried there from its inside, with the
    background's B: C = a F + (1 - a) B gives alpha a, and its premultiplied colour is C - (1 - a) B.
    """
    out = np.zeros_like(picture)
    solid = ~behind
    if not solid.any():
        return out
    box = bounding_box(solid)
    colors = picture[box][..., :3].astype(np.float32)
    color = np.array(background.color, np.float32)
    solid = solid[box]
    blended = solid & grow(behind, _BLEND)[box]
    own, near = _own_color(colors, color, solid & ~blended)
    contrast = own - color
    strength = (contrast**2).sum(axis=-1)
    mixed = ((colors - color) * contrast).sum(axis=-1) / np.maximum(strength, 1e-6)
    # What is hardly unlike the background says nothing about how much of it is seen: there the mask decides, and stray
    # pixels that compression left away from the object go.
    faint = strength < (3 * background.tolerance) ** 2
    alpha = np.where(blended, np.where(faint, near, mixed.clip(0, 1)), solid)
    covered = np.rint(255 * alpha)[..., None]
    premultiplied = np.rint(colors - (1 - alpha[..., None]) * color).clip(0, covered)
    out[box] = np.concatenate((premultiplied, covered), axis=-1).astype(np.uint8)
    return out


def _own_color(
    colors: Float[np.ndarray, "H W 3"], background: Float[np.ndarray, " 3"], inside: Bool[np.ndarray, "H W"]
) -> tuple[Float[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The object's colour near each pixel, and whether its inside is near.

    Where it is not, for thin parts have no inside: that of the pixel in reach which is least like the background.
    """
    spread, near = spread_inside(colors, inside)
    difference = torch.from_numpy(np.abs(colors - background).max(axis=-1))[None]
    reach = 2 * _BLEND + 1
    _, places = torch.nn.functional.max_pool2d(difference, reach, 1, reach // 2, return_indices=True)
    extreme = colors.reshape(-1, 3)[places[0].numpy()]
    return np.where(near[..., None], spread, extreme), near


def _edge(picture: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "S 3"]:
    """Pixels of the picture's edge, a few thousand."""
    ring = max(2, round(_RING * min(picture.shape[:2])))
    inner = np.zeros(picture.shape[:2], bool)
    inner[ring:-ring, ring:-ring] = True
    pixels = picture[..., :3][~inner]
    return pixels[:: max(1, len(pixels) // 4096)]
