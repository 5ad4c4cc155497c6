from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ds4d.io import premultiply, read_rgba
from ds4d.preprocess import VideoConfig
from ds4d.preprocess.matting.plain_background import PlainBackground, find_plain_background, matte_plain_background
from ds4d.preprocess.raw_video import read_raw_video

WHITE, BLACK, GREEN = (255, 255, 255), (0, 0, 0), (20, 190, 60)
BLUE = (40, 70, 160)


def opaque(rgb: np.ndarray) -> np.ndarray:
    return np.dstack((rgb, np.full(rgb.shape[:2], 255, np.uint8)))


@pytest.fixture
def video(disc, over) -> Callable[..., list[np.ndarray]]:
    """Six opaque frames of a disc that rolls before a background: (background, **the disc's)."""

    def make(background: tuple[int, int, int], **settings) -> list[np.ndarray]:
        discs = [disc(30 + 2 * time, 26, 14, size=(80, 60), **settings) for time in range(6)]
        return [opaque(over(image, background)) for image in discs]

    return make


@pytest.mark.parametrize("color", [WHITE, BLACK, GREEN, (128, 128, 128)])
def test_a_plain_background_is_found_and_taken_away(video, disc, color: tuple[int, int, int]) -> None:
    images = video(color, color=BLUE)
    background = find_plain_background(images)
    assert background is not None
    assert background.color == color
    for time, cut in enumerate(matte_plain_background(images, background, "auto")):
        truth = premultiply(disc(30 + 2 * time, 26, 14, size=(80, 60), color=BLUE))
        error = np.abs(cut.astype(int) - truth)
        if color == GREEN:
            error[(truth[..., 3] < 64) & (cut[..., 3] == 0)] = 0  # a quarter of the hue may be missing
        assert error.max() <= 6  # soft outline and its colors, free of the background's
        assert cut[..., 3].min() == 0


def test_noise_widens_the_tolerance(video, rng) -> None:
    images = video(WHITE, color=BLUE)
    noisy = [np.clip(p + rng.normal(0, 5, p.shape), 0, 255).astype(np.uint8) for p in images]
    calm, restless = find_plain_background(images), find_plain_background(noisy)
    assert calm is not None
    assert restless is not None
    assert calm.tolerance < restless.tolerance < 40
    for cut, clean in zip(
        matte_plain_background(noisy, restless, "auto"), matte_plain_background(images, calm, "auto"), strict=True
    ):
        assert ((cut[..., 3] > 127) != (clean[..., 3] > 127)).mean() < 0.005


def test_a_green_screen_may_be_lit_unevenly(disc, over) -> None:
    light = np.linspace(0.75, 1.1, 80)[None, :, None]
    screen = np.broadcast_to(np.float64(GREEN) * light, (60, 80, 3))
    image = opaque(over(disc(40, 26, 14, size=(80, 60), color=BLUE), screen))
    background = find_plain_background([image])
    assert background is not None
    (cut,) = matte_plain_background([image], background)
    truth = premultiply(disc(40, 26, 14, size=(80, 60), color=BLUE))
    assert np.array_equal(cut[..., 3] > 127, truth[..., 3] > 127)
    white = np.broadcast_to(255 * light / 1.1, (60, 80, 3))
    assert find_plain_background([opaque(over(disc(40, 26, 14, size=(80, 60), color=BLUE), white))]) is None


@pytest.mark.parametrize(("background", "least"), [(WHITE, 0.95), (BLACK, 0.93), (GREEN, 0.9)])
def test_real_motion_before_plain_backgrounds(data_dir: Path, render_video, over, background, least: float) -> None:
    """An animated model with true alpha, as an ordinary video with hues at half the size."""
    files = [data_dir / "gltf" / "george-dance" / "front" / f"{number:03d}.png" for number in range(0, 24, 3)]
    frames = [read_rgba(file) for file in files]
    path = render_video("a.mp4", [over(frame, background) for frame in frames], options={"crf": "18"})
    video = read_raw_video(path, VideoConfig())
    found = find_plain_background(video.images)
    assert found is not None
    for cut, frame in zip(matte_plain_background(video.images, found), frames, strict=True):
        mine, true = cut[..., 3] > 127, frame[..., 3] > 127
        assert (mine & true).sum() / (mine | true).sum() > least
        assert np.abs(cut[..., :3].astype(int) - premultiply(frame)[..., :3]).mean() < 2


def test_scenery_is_no_plain_background(video, rng) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 80)[None, :, None], (60, 80, 3)).astype(np.uint8)
    assert find_plain_background([opaque(ramp)]) is None
    assert find_plain_background([opaque(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))]) is None


def test_an_object_may_reach_the_border(disc, over) -> None:
    image = opaque(over(disc(40, 60, 25, size=(80, 60), color=BLUE), WHITE))
    background = find_plain_background([image])
    assert background is not None
    (cut,) = matte_plain_background([image], background, "auto")
    assert cut[59, 40].tolist() == [*BLUE, 255]
    assert cut[0, 40, 3] == 0


@pytest.mark.parametrize("spot", [WHITE, (251, 252, 250)])
def test_white_that_the_object_encloses_is_the_objects(video, spot: tuple[int, int, int]) -> None:
    images = video(WHITE, color=BLUE, spot=spot)
    background = PlainBackground((255.0, 255.0, 255.0), 8.0)
    for time, cut in enumerate(matte_plain_background(images, background, "auto")):
        assert cut[26, 30 + 2 * time, 3] == 255
        assert cut[..., 3].max(axis=0).min() == 0
    assert next(iter(matte_plain_background(images, background, "keep")))[26, 30, 3] == 255
    assert next(iter(matte_plain_background(images, background, "cut")))[26, 30, 3] == 0


def test_holes_before_a_green_screen_are_cut(video) -> None:
    images = video(GREEN, color=BLUE, spot=GREEN)
    background = find_plain_background(images)
    assert background is not None
    for time, cut in enumerate(matte_plain_background(images, background, "auto")):
        assert cut[26, 30 + 2 * time].tolist() == [0, 0, 0, 0]
    assert next(iter(matte_plain_background(images, background, "keep")))[26, 30, 3] == 255


def _arm_on_hip(opened: int) -> np.ndarray:
    """A bar with an arm bent to it, before white; `opened` pixels of the arm's end are missing."""
    rgb = np.full((60, 80, 3), 255, np.uint8)
    rgb[5:55, 20:34] = BLUE
    rgb[10:16, 34:60] = rgb[10:46, 54:60] = rgb[40:46, 34 + opened : 60] = BLUE
    return opaque(rgb)


def test_an_opening_is_cut_in_all_frames_if_it_opens_in_one() -> None:
    background = PlainBackground((255.0, 255.0, 255.0), 8.0)
    closed = list(matte_plain_background([_arm_on_hip(0)] * 4, background, "auto"))
    assert [cut[28, 44, 3] for cut in closed] == [255] * 4
    opens = list(
        matte_plain_background([_arm_on_hip(0), _arm_on_hip(0), _arm_on_hip(0), _arm_on_hip(12)], background, "auto")
    )
    assert [cut[28, 44, 3] for cut in opens] == [0] * 4
    assert [cut[28, 27, 3] for cut in opens] == [255] * 4


def test_thin_parts_stay(over) -> None:
    rgb = np.full((60, 80, 3), 255, np.uint8)
    rgb[20:40, 20:40] = BLUE
    rgb[30, 40:70] = BLUE  # an antenna
    (cut,) = matte_plain_background([opaque(rgb)], PlainBackground((255.0, 255.0, 255.0), 8.0), "auto")
    assert cut[30, 45:68, 3].min() > 200
    assert cut[30, 45:68, :3] == pytest.approx(np.broadcast_to(BLUE, (23, 3)), abs=8)


def test_a_white_object_keeps_its_inside() -> None:
    rgb = np.full((60, 80, 3), 255, np.uint8)
    rgb[15:45, 20:60] = 238  # a shirt in the light
    (cut,) = matte_plain_background([opaque(rgb)], PlainBackground((255.0, 255.0, 255.0), 8.0), "auto")
    assert np.array_equal(cut[..., 3] > 127, rgb[..., 0] < 255)


def test_a_image_of_background_alone_is_empty() -> None:
    image = opaque(np.full((20, 30, 3), 255, np.uint8))
    (cut,) = matte_plain_background([image], PlainBackground((255.0, 255.0, 255.0), 8.0), "auto")
    assert not cut.any()


@pytest.mark.parametrize("name", ["dancing_robot_fg", "lifting1_fg", "otter-on-surfboard_fg", "sighing_frog_fg"])
def test_videos_on_white_look_the_same_on_white_again(data_dir: Path, name: str) -> None:
    video = read_raw_video(data_dir / "videos" / f"{name}.mp4", VideoConfig(frames=4))
    background = find_plain_background(video.images)
    assert background is not None
    assert background.color == WHITE
    for image, cut in zip(video.images, matte_plain_background(video.images, background, "auto"), strict=True):
        shown = cut[..., :3] + (255 - cut[..., 3:].astype(int))
        assert np.abs(shown - image[..., :3]).mean() < 0.4
        assert np.percentile(np.abs(shown - image[..., :3]), 99.9) < 30
        # Little of what is left is nearly white and nearly solid: no fringe, no filled gaps.
        fringe = (cut[..., :3].min(axis=-1) > 245) & (cut[..., 3] > 200)
        assert fringe.sum() < 0.02 * (cut[..., 3] > 127).sum()
        assert 0.05 < (cut[..., 3] > 127).mean() < 0.5


def test_openings_of_the_robot_are_cut_and_the_otters_eyes_stay(data_dir: Path) -> None:
    robot = read_raw_video(data_dir / "videos" / "dancing_robot_fg.mp4", VideoConfig())
    background = find_plain_background(robot.images)
    assert background is not None
    cut = list(matte_plain_background(robot.images, background, "auto"))
    assert cut[31][257, 303, 3] == 0  # between the arm and the hip
    assert cut[3][246, 205, 3] == 0
    otter = read_raw_video(data_dir / "videos" / "otter-on-surfboard_fg.mp4", VideoConfig(frames=8))
    for image in matte_plain_background(otter.images, background, "auto"):
        solid = image[..., 3] == 255
        rows = np.flatnonzero(solid.any(axis=1))
        head = solid[rows[0] + 20 : rows[0] + 70, 240:300]
        assert head.mean() > 0.99  # brow, eyes and teeth have no holes
