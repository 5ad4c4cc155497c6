"""Contact sheets: labeled grids of images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

_GAP = 4  # pixels
_FONT_SIZE = 16  # pixels
_LABEL_COLOR = (40, 40, 40)


def contact_sheet(
    rows: Sequence[Sequence[UInt8[np.ndarray, "H W 3"]]],
    *,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
) -> UInt8[np.ndarray, "h w 3"]:
    """A grid of images on white, with labels above the columns and to the left of the rows.

    Args:
        rows: images of each row, all of one size, the same number in each row.
        column_labels: label of each column; none if empty.
        row_labels: label of each row; none if empty.

    Raises:
        ValueError: There are no images, they differ in size, or the number of labels does not match.
    """
    height, width = _common_size(rows, column_labels, row_labels)
    font = ImageFont.load_default(_FONT_SIZE)
    left = max((round(font.getlength(label)) + 2 * _GAP for label in row_labels), default=0)
    top = _FONT_SIZE + 2 * _GAP if column_labels else 0
    lefts = [left + _GAP + i * (width + _GAP) for i in range(len(rows[0]))]
    tops = [top + _GAP + i * (height + _GAP) for i in range(len(rows))]
    sheet = Image.new("RGB", (lefts[-1] + width + _GAP, tops[-1] + height + _GAP), "white")
    for y, row in zip(tops, rows, strict=True):
        for x, image in zip(lefts, row, strict=True):
            sheet.paste(Image.fromarray(image), (x, y))
    draw = ImageDraw.Draw(sheet)
    for x, label in zip(lefts, column_labels, strict=False):
        draw.text((x + width / 2, top / 2), label, _LABEL_COLOR, font, anchor="mm")
    for y, label in zip(tops, row_labels, strict=False):
        draw.text((left - _GAP, y + height / 2), label, _LABEL_COLOR, font, anchor="rm")
    return np.array(sheet)


def _common_size(
    rows: Sequence[Sequence[np.ndarray]], column_labels: Sequence[str], row_labels: Sequence[str]
) -> tuple[int, int]:
    """Height and width of the images, validated."""
    if not rows or not rows[0]:
        raise ValueError("rows of a contact sheet must hold at least one image, got none.")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"rows of a contact sheet must have equal lengths, got {sorted(lengths)}.")
    sizes = {image.shape[:2] for row in rows for image in row}
    if len(sizes) > 1:
        raise ValueError(f"images of a contact sheet must have one size, got {sorted(sizes)}.")
    for name, labels, count in (("column_labels", column_labels, len(rows[0])), ("row_labels", row_labels, len(rows))):
        if labels and len(labels) != count:
            raise ValueError(f"{name} must be {count} labels or none, got {len(labels)}.")
    return sizes.pop()
