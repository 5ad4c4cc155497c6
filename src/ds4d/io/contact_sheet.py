"""Images of images: contact sheets."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

_GAP = 4
_LETTERS = 16  # height of the labels, pixels
_INK = (40, 40, 40)


def contact_sheet(
    rows: Sequence[Sequence[UInt8[np.ndarray, "H W 3"]]],
    *,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
) -> UInt8[np.ndarray, "h w 3"]:
    """Images of one size in a grid on white, labels above the columns and left of the rows.

    Args:
        rows: equally many images in each.
        column_labels: one per column, or none.
        row_labels: one per row, or none.

    Raises:
        ValueError: no images, images of different sizes, or a number of labels that does not fit.
    """
    height, width = _common_size(rows, column_labels, row_labels)
    font = ImageFont.load_default(_LETTERS)
    left = max((round(font.getlength(label)) + 2 * _GAP for label in row_labels), default=0)
    top = _LETTERS + 2 * _GAP if column_labels else 0
    lefts = [left + _GAP + i * (width + _GAP) for i in range(len(rows[0]))]
    tops = [top + _GAP + i * (height + _GAP) for i in range(len(rows))]
    sheet = Image.new("RGB", (lefts[-1] + width + _GAP, tops[-1] + height + _GAP), "white")
    for y, row in zip(tops, rows, strict=True):
        for x, image in zip(lefts, row, strict=True):
            sheet.paste(Image.fromarray(image), (x, y))
    draw = ImageDraw.Draw(sheet)
    for x, label in zip(lefts, column_labels, strict=False):
        draw.text((x + width / 2, top / 2), label, _INK, font, anchor="mm")
    for y, label in zip(tops, row_labels, strict=False):
        draw.text((left - _GAP, y + height / 2), label, _INK, font, anchor="rm")
    return np.array(sheet)


def _common_size(
    rows: Sequence[Sequence[np.ndarray]], column_labels: Sequence[str], row_labels: Sequence[str]
) -> tuple[int, int]:
    """Height and width of every image, after all checks."""
    if not rows or not rows[0]:
        raise ValueError("contact_sheet: rows must hold at least one image, got none.")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"contact_sheet: rows must be equally long, got lengths {sorted(lengths)}.")
    sizes = {image.shape[:2] for row in rows for image in row}
    if len(sizes) > 1:
        raise ValueError(f"contact_sheet: images must share one height and width, got {sorted(sizes)}.")
    for name, labels, count in (("column_labels", column_labels, len(rows[0])), ("row_labels", row_labels, len(rows))):
        if labels and len(labels) != count:
            raise ValueError(f"contact_sheet: {name} must be {count} or none, got {len(labels)}.")
    return sizes.pop()
