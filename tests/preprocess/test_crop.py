import numpy as np
import pytest

from ds4d.io import Size, premultiply, resize_premultiplied
from ds4d.preprocess.crop import CropBox, foreground_crop_box


def center(image: np.ndarray) -> tuple[float, float]:
    """Column and row of the centroid of alpha."""
    alpha = image[..., 3].astype(float)
    rows, columns = np.indices(alpha.shape)
    return float((alpha * (columns + 0.5)).sum() / alpha.sum()), float((alpha * (rows + 0.5)).sum() / alpha.sum())


@pytest.mark.parametrize("fill", [0.6, 0.85, 1.0])
def test_foreground_fills_the_crop(rolling_disc, fill: float) -> None:
    images = [premultiply(image) for image in rolling_disc]
    box = foreground_crop_box(images, Size(64, 48), 256, fill)
    cropped = np.stack([box.crop(image) for image in images])
    columns = np.flatnonzero((cropped[..., 3] > 64).any(axis=(0, 1)))
    rows = np.flatnonzero((cropped[..., 3] > 64).any(axis=(0, 2)))
    assert (columns[-1] - columns[0] + 1) / 256 == pytest.approx(fill, abs=0.02)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(127.5, abs=256 / box.side)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(127.5, abs=256 / box.side)


def test_motion_is_preserved(rolling_disc) -> None:
    images = [premultiply(image) for image in rolling_disc]
    box = foreground_crop_box(images, Size(64, 48), 128, 0.85)
    path = np.array([center(box.crop(image)) for image in images])
    assert np.diff(path[:, 0]) == pytest.approx(np.full(11, 3 * 128 / box.side), abs=0.05)
    assert np.ptp(path[:, 1]) < 0.05


def test_box_is_in_pixels_of_the_video_at_any_resolution(rolling_disc) -> None:
    large = [resize_premultiplied(premultiply(image), 640, 480) for image in rolling_disc]
    small = [premultiply(image) for image in rolling_disc]
    of_large, of_small = (foreground_crop_box(images, Size(640, 480), 64, 0.85) for images in (large, small))
    assert of_small.side == pytest.approx(of_large.side, abs=20)
    assert of_small.left == pytest.approx(of_large.left, abs=20)
    assert center(of_large.crop(small[3])) == pytest.approx(center(of_large.crop(large[3])), abs=0.7)


def test_paste_back_inverts_crop(rolling_disc) -> None:
    images = [premultiply(image) for image in rolling_disc]
    box = foreground_crop_box(images, Size(64, 48), 400, 0.85)
    for image in images:
        pasted = box.paste_back(box.crop(image))
        assert pasted.shape == (48, 64, 4)
        assert np.abs(pasted.astype(int) - image).mean() < 1
        assert center(pasted) == pytest.approx(center(image), abs=0.05)


@pytest.mark.parametrize(("left", "top"), [(-30, -20), (40, 30), (-5, 40), (-200, 5), (300, 300)])
def test_box_may_extend_beyond_the_video(disc, left: int, top: int) -> None:
    image = premultiply(disc(32, 24, 12))
    box = CropBox(left, top, 40, 40, 64, 48)
    cropped = box.crop(image)
    rows, columns = np.mgrid[top : top + 40, left : left + 40]
    inside = (rows >= 0) & (rows < 48) & (columns >= 0) & (columns < 64)
    expected = np.where(inside[..., None], image[rows.clip(0, 47), columns.clip(0, 63)], 0)
    assert np.array_equal(cropped, expected)
    pasted = box.paste_back(cropped)
    visible = np.zeros((48, 64), bool)
    visible[max(0, top) : max(0, top + 40), max(0, left) : max(0, left + 40)] = True
    assert np.array_equal(pasted, np.where(visible[..., None], image, 0))
