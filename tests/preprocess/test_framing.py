import numpy as np
import pytest

from ds4d.io import premultiply, resize_premultiplied
from ds4d.io.sizes import Size
from ds4d.preprocess.framing import Framing, frame_clip


def center(image: np.ndarray) -> tuple[float, float]:
    """Column and row of the middle of what is covered."""
    alpha = image[..., 3].astype(float)
    rows, columns = np.indices(alpha.shape)
    return float((alpha * (columns + 0.5)).sum() / alpha.sum()), float((alpha * (rows + 0.5)).sum() / alpha.sum())


@pytest.mark.parametrize("fill", [0.6, 0.85, 1.0])
def test_the_objects_way_fills_its_share_of_the_square(rolling_disc, fill: float) -> None:
    images = [premultiply(image) for image in rolling_disc]
    framing = frame_clip(images, Size(64, 48), 256, fill)
    framed = np.stack([framing.apply(image) for image in images])
    columns = np.flatnonzero((framed[..., 3] > 64).any(axis=(0, 1)))
    rows = np.flatnonzero((framed[..., 3] > 64).any(axis=(0, 2)))
    assert (columns[-1] - columns[0] + 1) / 256 == pytest.approx(fill, abs=0.02)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(127.5, abs=256 / framing.side)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(127.5, abs=256 / framing.side)


def test_motion_across_the_video_stays_motion(rolling_disc) -> None:
    images = [premultiply(image) for image in rolling_disc]
    framing = frame_clip(images, Size(64, 48), 128, 0.85)
    ways = np.array([center(framing.apply(image)) for image in images])
    assert np.diff(ways[:, 0]) == pytest.approx(np.full(11, 3 * 128 / framing.side), abs=0.05)
    assert np.ptp(ways[:, 1]) < 0.05


def test_frames_read_small_are_framed_as_the_video_lies(rolling_disc) -> None:
    """The framing is in pixels of the video, whatever size its frames were read at."""
    large = [resize_premultiplied(premultiply(image), 640, 480) for image in rolling_disc]
    small = [premultiply(image) for image in rolling_disc]
    of_large, of_small = (frame_clip(images, Size(640, 480), 64, 0.85) for images in (large, small))
    assert of_small.side == pytest.approx(of_large.side, abs=20)
    assert of_small.left == pytest.approx(of_large.left, abs=20)
    assert center(of_large.apply(small[3])) == pytest.approx(center(of_large.apply(large[3])), abs=0.7)


def test_what_is_framed_can_be_put_back(rolling_disc) -> None:
    images = [premultiply(image) for image in rolling_disc]
    framing = frame_clip(images, Size(64, 48), 400, 0.85)
    for image in images:
        back = framing.put_back(framing.apply(image))
        assert back.shape == (48, 64, 4)
        assert np.abs(back.astype(int) - image).mean() < 1
        assert center(back) == pytest.approx(center(image), abs=0.05)


@pytest.mark.parametrize(("left", "top"), [(-30, -20), (40, 30), (-5, 40), (-200, 5), (300, 300)])
def test_squares_may_reach_beyond_the_video(disc, left: int, top: int) -> None:
    image = premultiply(disc(32, 24, 12))
    framing = Framing(left, top, 40, 40, 64, 48)
    framed = framing.apply(image)
    rows, columns = np.mgrid[top : top + 40, left : left + 40]
    inside = (rows >= 0) & (rows < 48) & (columns >= 0) & (columns < 64)
    expected = np.where(inside[..., None], image[rows.clip(0, 47), columns.clip(0, 63)], 0)
    assert np.array_equal(framed, expected)
    put_back = framing.put_back(framed)
    kept = np.zeros((48, 64), bool)
    kept[max(0, top) : max(0, top + 40), max(0, left) : max(0, left + 40)] = True
    assert np.array_equal(put_back, np.where(kept[..., None], image, 0))
