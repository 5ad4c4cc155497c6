"""Widths and heights, in pixels."""

from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def reduced(size: Size, most: int) -> Size:
    """The size in the same proportions whose longer side is at most `most`."""
    scale = min(1.0, most / max(size))
    return Size(max(1, round(scale * size.width)), max(1, round(scale * size.height)))
