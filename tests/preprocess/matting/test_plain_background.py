from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ds4d.io import premultiply, read_rgba
from ds4d.preprocess import VideoConfig
from ds4d.preprocess.matting.plain_background import (
    PlainBackground,
    find_plain_background,
    matte_plain_background,
    opening_holes,
)
from ds4d.preprocess.raw_video import read_raw_video

WHITE, BLACK, GREEN = (255, 255, 255), (0, 0, 0), (20, 190, 60)
BLUE = (40, 70, 160)
ON_WHITE = PlainBackground((255.0, 255.0, 255.0), 8.0)


def opaque(rgb: np.ndarray) -> np.ndarray:
    return np.dstack((rgb, np.full(rgb.shape[:2], 255, np.uint8)))


def mattes(images: Sequence[np.ndarray], background: PlainBackground | None, holes: str = "auto") -> list[np.ndarray]:
    """Foreground of each frame in front of a background that must have been found."""
    assert background is not None
    return [matte.image for matte in matte_plain_background(images, background, holes)]


@pytest.fixture
def video(disc, over) -> Callable[..., list[np.ndarray]]:
    """Makes six opaque frames of a disc that moves in front of a background: (background, **arguments of disc)."""

    def make(background: tuple[int, int, int], **settings) -> list[np.ndarray]:
        discs = [disc(30 + 2 * time, 26, 14, size=(80, 60), **settings) for time in range(6)]
        return [opaque(over(image, background)) for image in discs]

    return make


@pytest.mark.parametrize("color", [WHITE, BLACK, GREEN, (128, 128, 128)])
def test_background_is_found_and_removed(video, disc, color: tuple[int, int, int]) -> None:
    images = video(color, color=BLUE)
    background = find_plain_background(images)
    assert background is not None
    assert background.color == color
    for time, matte in enumerate(mattes(images, background)):
        truth = premultiply(disc(30 + 2 * time, 26, 14, size=(80, 60), color=BLUE))
        error = np.abs(matte.astype(int) - truth)
        if color == GREEN:
            error[(truth[..., 3] < 64) & (matte[..., 3] == 0)] = 0  # a quarter of the hue may be missing
        assert error.max() <= 6  # the outline is soft, and its colors are free of the background's
        assert matte[..., 3].min() == 0


def test_noise_increases_the_tolerance(video, rng) -> None:
    images = video(WHITE, color=BLUE)
    noisy = [np.clip(p + rng.normal(0, 5, p.shape), 0, 255).astype(np.uint8) for p in images]
    clean_background, noisy_background = find_plain_background(images), find_plain_background(noisy)
    assert clean_background is not None
    assert noisy_background is not None
    assert clean_background.tolerance < noisy_background.tolerance < 40
    for matte, clean in zip(mattes(noisy, noisy_background), mattes(images, clean_background), strict=True):
        assert ((matte[..., 3] > 127) != (clean[..., 3] > 127)).mean() < 0.005


def test_green_screens_may_be_lit_unevenly(disc, over) -> None:
    light = np.linspace(0.75, 1.1, 80)[None, :, None]
    screen = np.broadcast_to(np.float64(GREEN) * light, (60, 80, 3))
    image = opaque(over(disc(40, 26, 14, size=(80, 60), color=BLUE), screen))
    (matte,) = mattes([image], find_plain_background([image]))
    truth = premultiply(disc(40, 26, 14, size=(80, 60), color=BLUE))
    assert np.array_equal(matte[..., 3] > 127, truth[..., 3] > 127)
    white = np.broadcast_to(255 * light / 1.1, (60, 80, 3))
    assert find_plain_background([opaque(over(disc(40, 26, 14, size=(80, 60), color=BLUE), white))]) is None


@pytest.mark.parametrize(("background", "min_iou"), [(WHITE, 0.95), (BLACK, 0.93), (GREEN, 0.9)])
def test_real_motion_on_plain_backgrounds(data_dir: Path, write_video_file, over, background, min_iou: float) -> None:
    """An animated model with true alpha, encoded with chroma subsampling."""
    files = [data_dir / "gltf" / "george-dance" / "front" / f"{number:03d}.png" for number in range(0, 24, 3)]
    frames = [read_rgba(file) for file in files]
    path = write_video_file("a.mp4", [over(frame, background) for frame in frames], options={"crf": "18"})
    images = read_raw_video(path, VideoConfig()).images
    for matte, frame in zip(mattes(images, find_plain_background(images)), frames, strict=True):
        mask, truth = matte[..., 3] > 127, frame[..., 3] > 127
        assert (mask & truth).sum() / (mask | truth).sum() > min_iou
        assert np.abs(matte[..., :3].astype(int) - premultiply(frame)[..., :3]).mean() < 2


def test_gradients_and_noise_are_not_plain(rng) -> None:
    gradient = np.broadcast_to(np.linspace(0, 255, 80)[None, :, None], (60, 80, 3)).astype(np.uint8)
    assert find_plain_background([opaque(gradient)]) is None
    assert find_plain_background([opaque(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))]) is None


def test_objects_may_touch_the_border(disc, over) -> None:
    image = opaque(over(disc(40, 60, 25, size=(80, 60), color=BLUE), WHITE))
    (matte,) = mattes([image], find_plain_background([image]))
    assert matte[59, 40].tolist() == [*BLUE, 255]
    assert matte[0, 40, 3] == 0


@pytest.mark.parametrize("spot", [WHITE, (251, 252, 250)])
def test_enclosed_white_on_white_is_kept(video, spot: tuple[int, int, int]) -> None:
    images = video(WHITE, color=BLUE, spot=spot)
    for time, matte in enumerate(mattes(images, ON_WHITE)):
        assert matte[26, 30 + 2 * time, 3] == 255
        assert matte[..., 3].max(axis=0).min() == 0
    assert mattes(images, ON_WHITE, "keep")[0][26, 30, 3] == 255
    assert mattes(images, ON_WHITE, "remove")[0][26, 30, 3] == 0


def test_enclosed_green_on_green_is_removed(video) -> None:
    images = video(GREEN, color=BLUE, spot=GREEN)
    background = find_plain_background(images)
    for time, matte in enumerate(mattes(images, background)):
        assert matte[26, 30 + 2 * time].tolist() == [0, 0, 0, 0]
    assert mattes(images, background, "keep")[0][26, 30, 3] == 255


def _arm_on_hip(opened: int) -> np.ndarray:
    """A bar with an arm bent to it, on white; the last `opened` pixels of the arm are missing."""
    rgb = np.full((60, 80, 3), 255, np.uint8)
    rgb[5:55, 20:34] = BLUE
    rgb[10:16, 34:60] = rgb[10:46, 54:60] = rgb[40:46, 34 + opened : 60] = BLUE
    return opaque(rgb)


def test_holes_that_open_in_one_frame_are_removed_in_all() -> None:
    closed = mattes([_arm_on_hip(0)] * 4, ON_WHITE)
    assert [matte[28, 44, 3] for matte in closed] == [255] * 4
    opening = mattes([_arm_on_hip(0), _arm_on_hip(0), _arm_on_hip(0), _arm_on_hip(12)], ON_WHITE)
    assert [matte[28, 44, 3] for matte in opening] == [0] * 4
    assert [matte[28, 27, 3] for matte in opening] == [255] * 4


@pytest.mark.parametrize(("min_area", "opens"), [(16.0, True), (17.0, False)])
def test_small_holes_do_not_open(min_area: float, opens: bool) -> None:
    hole, outside = np.zeros((2, 12, 12), bool)
    hole[4:8, 4:8] = True
    outside[4:8, 4:6] = True  # covers half of the hole
    found = list(opening_holes([hole, np.zeros_like(hole)], [np.zeros_like(hole), outside], min_area))
    assert found[0].any() == opens
    assert not found[1].any()


def test_background_colored_pixels_are_reported_inside_the_object(video) -> None:
    (matte, *_) = matte_plain_background(video(WHITE, color=BLUE, spot=WHITE), ON_WHITE)
    assert matte.background_colored[26, 30] and matte.background_colored[2, 2]
    assert not matte.background_colored[26, 40]


def test_thin_parts_are_kept() -> None:
    rgb = np.full((60, 80, 3), 255, np.uint8)
    rgb[20:40, 20:40] = BLUE
    rgb[30, 40:70] = BLUE  # an antenna
    (matte,) = mattes([opaque(rgb)], ON_WHITE)
    assert matte[30, 45:68, 3].min() > 200
    assert matte[30, 45:68, :3] == pytest.approx(np.broadcast_to(BLUE, (23, 3)), abs=8)


def test_nearly_white_objects_stay_opaque() -> None:
    rgb = np.full((60, 80, 3), 255, np.uint8)
    rgb[15:45, 20:60] = 238  # a bright shirt
    (matte,) = mattes([opaque(rgb)], ON_WHITE)
    assert np.array_equal(matte[..., 3] > 127, rgb[..., 0] < 255)


def test_background_alone_gives_an_empty_matte() -> None:
    (matte,) = mattes([opaque(np.full((20, 30, 3), 255, np.uint8))], ON_WHITE)
    assert not matte.any()


@pytest.mark.parametrize("name", ["dancing_robot_fg", "lifting1_fg", "otter-on-surfboard_fg", "sighing_frog_fg"])
def test_mattes_composited_on_white_reproduce_the_video(data_dir: Path, name: str) -> None:
    images = read_raw_video(data_dir / "videos" / f"{name}.mp4", VideoConfig(frames=4)).images
    background = find_plain_background(images)
    assert background is not None
    assert background.color == WHITE
    for image, matte in zip(images, mattes(images, background), strict=True):
        composite = matte[..., :3] + (255 - matte[..., 3:].astype(int))
        assert np.abs(composite - image[..., :3]).mean() < 0.4
        assert np.percentile(np.abs(composite - image[..., :3]), 99.9) < 30
        # Few of the remaining pixels are nearly white and nearly opaque: no fringe, no filled gaps.
        fringe = (matte[..., :3].min(axis=-1) > 245) & (matte[..., 3] > 200)
        assert fringe.sum() < 0.02 * (matte[..., 3] > 127).sum()
        assert 0.05 < (matte[..., 3] > 127).mean() < 0.5


def test_holes_of_real_videos(data_dir: Path) -> None:
    robot = read_raw_video(data_dir / "videos" / "dancing_robot_fg.mp4", VideoConfig()).images
    background = find_plain_background(robot)
    robot_mattes = mattes(robot, background)
    assert robot_mattes[31][257, 303, 3] == 0  # between the arm and the hip
    assert robot_mattes[3][246, 205, 3] == 0
    otter = read_raw_video(data_dir / "videos" / "otter-on-surfboard_fg.mp4", VideoConfig(frames=8)).images
    for matte in mattes(otter, background):
        solid = matte[..., 3] == 255
        rows = np.flatnonzero(solid.any(axis=1))
        head = solid[rows[0] + 20 : rows[0] + 70, 240:300]
        assert head.mean() > 0.99  # the white eyes and teeth are not holes
