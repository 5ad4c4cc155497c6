from pathlib import Path

import numpy as np
import pytest

from ds4d.cli.commands.render import read_background
from ds4d.io import write_png


@pytest.mark.parametrize(("value", "color"), [("white", [255] * 3), ("#102030", [16, 32, 48]), ("black", [0] * 3)])
def test_colors(value: str, color: list[int]) -> None:
    image = read_background(value, 3, 2)
    assert image.shape == (2, 3, 3) and (image == color).all()


def test_images_are_cropped_and_transparent_pixels_are_white(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 4), np.uint8)
    wide[:, 4:8] = (250, 10, 20, 255)
    write_png(tmp_path / "wide.png", wide)
    square = read_background(str(tmp_path / "wide.png"), 8, 8)
    assert square.shape == (8, 8, 3) and np.abs(square[:, 2:6].astype(int) - [250, 10, 20]).max() < 30
    assert (read_background(str(tmp_path / "wide.png"), 6, 2)[:, [0, -1]] == 255).all()


def test_other_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--background .*'whitish'"):
        read_background("whitish", 4, 4)
