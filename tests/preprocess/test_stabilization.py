"""Stabilization: a known shake over a textured background is found and taken out; what is uncertain is left alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

from ds4d.io import Size, write_png
from ds4d.preprocess import LoadedVideo, VideoConfig, load_video
from ds4d.preprocess.hidden import WEIGHTS_SIZE
from ds4d.preprocess.stabilization import Stabilization, find_stabilization, gray_frames

WIDTH, HEIGHT, PAD, COUNT = 192, 144, 40, 9
RED = np.array([210, 40, 30])
Shake = Callable[[int], tuple[float, float, float]]  # x and y in pixels, and a turn in degrees, by frame


def texture(rng: np.random.Generator, blur: float = 1.5) -> np.ndarray:
    shape = (HEIGHT + 2 * PAD, WIDTH + 2 * PAD, 3)
    layers = [gaussian_filter(rng.standard_normal(shape), (scale * blur, scale * blur, 0)) for scale in (1, 4, 12)]
    return (128 + 35 * sum(layer / layer.std() for layer in layers)).clip(0, 255)


def similarity(x: float, y: float, turn_deg: float) -> np.ndarray:
    """From pixels of a frame, from its center, to those of the scene, in rows and columns."""
    angle = np.radians(turn_deg)
    return np.array([[np.cos(angle), -np.sin(angle), y], [np.sin(angle), np.cos(angle), x], [0, 0, 1]])


def taken(scene: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """What a camera in this pose sees of a scene with a margin."""
    middle = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    offset = PAD + middle + pose[:2, 2] - pose[:2, :2] @ middle
    channels = [
        affine_transform(channel, pose[:2, :2], offset, output_shape=(HEIGHT, WIDTH), order=3)
        for channel in np.moveaxis(scene.astype(float), -1, 0)
    ]
    return np.stack(channels, axis=-1).clip(0, 255).round().astype(np.uint8)


def disc(time: int, x: float = 70.0, y: float = 62.0) -> np.ndarray:
    """Alpha of an object with a pattern that moves to the right, in [0, 255], in the scene."""
    rows, columns = np.mgrid[: HEIGHT + 2 * PAD, : WIDTH + 2 * PAD]
    return ((columns - PAD - x - 5 * time) ** 2 + (rows - PAD - y) ** 2 < 26**2) * 255.0


@pytest.fixture
def filmed(tmp_path: Path) -> Callable[..., VideoConfig]:
    """Writes a clip and its masks; returns how it is read."""

    def write(shake: Shake, *, background: np.ndarray | None = None, y: float = 62.0) -> VideoConfig:
        rng = np.random.default_rng(5)
        behind, pattern = texture(rng) if background is None else background, texture(rng)
        for time in range(COUNT):
            alpha = disc(time, y=y)[..., None] / 255
            moved = np.roll(pattern, 5 * time, axis=1) * RED / 255  # features of its own, which go with it
            pose = similarity(*shake(time))
            (tmp_path / "masks").mkdir(exist_ok=True)
            write_png(tmp_path / "video" / f"{time}.png", taken(alpha * moved + (1 - alpha) * behind, pose))
            Image.fromarray(taken(255 * alpha, pose)[..., 0]).save(tmp_path / "masks" / f"{time}.png")
        return VideoConfig(size=64, masks=tmp_path / "masks")

    return write


def hand_held(time: int) -> tuple[float, float, float]:
    return 6 * np.sin(2.1 * time), 5 * np.cos(1.3 * time), 1.5 * np.sin(1.7 * time)


def still(time: int) -> tuple[float, float, float]:
    return 0.0, 0.0, 0.0


def load(tmp_path: Path, config: VideoConfig) -> LoadedVideo:
    return load_video(tmp_path / "video", config)


def names(loaded: LoadedVideo) -> dict[str, str]:
    return {finding.name: finding.severity for finding in loaded.findings}


def truth(time: int) -> np.ndarray:
    """The similarity from a frame to the middle one, in columns and rows, centers of pixels at halves."""
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    center = np.array([[1, 0, WIDTH / 2], [0, 1, HEIGHT / 2], [0, 0, 1]])
    poses = [swap @ similarity(*hand_held(each)) @ swap for each in (COUNT // 2, time)]
    return center @ np.linalg.inv(poses[0]) @ poses[1] @ np.linalg.inv(center)


def test_a_known_shake_is_found_within_half_a_pixel(tmp_path: Path, filmed) -> None:
    loaded = load(tmp_path, filmed(hand_held))
    assert names(loaded)["stabilized"] == "note" and "moving_camera" not in names(loaded)
    assert len(loaded.alignment) == COUNT
    points = np.array([(x, y, 1.0) for x in (40, 96, 150) for y in (30, 72, 110)]).T
    for time, matrix in enumerate(loaded.alignment):
        found = np.array(matrix) @ points
        assert np.abs(found - truth(time) @ points)[:2].max() < 0.5


def test_the_object_is_where_a_steady_camera_would_see_it(tmp_path: Path, filmed) -> None:
    """The disc moves to the right and by nothing else; without stabilization it shakes."""

    def unsteadiness(loaded: LoadedVideo) -> float:
        alphas = [loaded.video.frames.read(time, 0)[..., 3] / 255.0 for time in range(COUNT)]
        rows = [float((alpha.sum(axis=1) * np.arange(64)).sum() / alpha.sum()) for alpha in alphas]
        return float(np.std(rows)) * loaded.crop.side / 64

    config = filmed(lambda time: (*hand_held(time)[:2], 0.0))
    loaded = load(tmp_path, config)
    assert unsteadiness(loaded) < 0.25
    assert unsteadiness(load(tmp_path, VideoConfig(size=64, masks=config.masks, stabilize="off"))) > 2.0
    premultiplied = loaded.video.frames.read(0, 0)
    assert (premultiplied[..., :3] <= premultiplied[..., 3:]).all()


def test_a_still_camera_is_left_bit_for_bit(tmp_path: Path, filmed) -> None:
    config = filmed(still)
    loaded = load(tmp_path, config)
    plain = load(tmp_path, VideoConfig(size=64, masks=config.masks, stabilize="off"))
    assert loaded.alignment == () and "stabilized" not in names(loaded)
    for time in range(COUNT):
        assert np.array_equal(loaded.video.frames.read(time, 0), plain.video.frames.read(time, 0))


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_without_a_background_nothing_is_done(tmp_path: Path, rolling_disc, mode: str) -> None:
    for number, frame in enumerate(rolling_disc):
        write_png(tmp_path / "video" / f"{number}.png", frame)
    loaded = load(tmp_path, VideoConfig(size=64, stabilize=mode))
    assert loaded.alignment == ()
    assert ("not_stabilized" in names(loaded)) == (mode == "on")
    plain = load(tmp_path, VideoConfig(size=64, stabilize="off"))
    for time in range(len(rolling_disc)):
        assert np.array_equal(loaded.video.frames.read(time, 0), plain.video.frames.read(time, 0))


@pytest.mark.parametrize("fault", ["no texture", "too far", "another place"])
def test_what_is_uncertain_is_left_alone_and_said(tmp_path: Path, filmed, fault: str) -> None:
    if fault == "no texture":
        config = filmed(hand_held, background=np.full((HEIGHT + 2 * PAD, WIDTH + 2 * PAD, 3), 120.0))
    elif fault == "too far":
        config = filmed(lambda time: (9.8 * (time - COUNT // 2), 0.0, 0.0))
    else:
        config = filmed(still)
        cut = taken(texture(np.random.default_rng(9)), similarity(0.0, 0.0, 0.0))
        write_png(tmp_path / "video" / "7.png", cut)
    required = VideoConfig(size=64, masks=config.masks, stabilize="on")
    loaded = load(tmp_path, required)
    assert loaded.alignment == () and names(loaded)["not_stabilized"] == "warning"
    assert "not_stabilized" not in names(load(tmp_path, config))


def test_beyond_the_border_that_the_camera_moved_nothing_is_known(tmp_path: Path, filmed) -> None:
    """The lower side of the video cuts the object, and moves up and down in the aligned frames."""
    loaded = load(tmp_path, filmed(lambda time: (0.0, 8.0 * (time % 2), 0.0), y=128.0))
    assert loaded.weights is not None and "cut_by_border" in names(loaded)
    rows = (torch.arange(WEIGHTS_SIZE) + 0.5) / WEIGHTS_SIZE * loaded.crop.side + loaded.crop.top
    for time in range(COUNT):
        lower = HEIGHT + (8.0 if time % 2 else 0.0)  # of the scene that the middle frame shows
        margin = 2.5 / WEIGHTS_SIZE * loaded.crop.side
        assert (loaded.weights[time, 0, rows > lower] == 0).all()
        assert (loaded.weights[time, 0, rows < lower - margin] == 1).all()


def test_layers_of_the_steady_camera_go_back_into_the_video() -> None:
    matrix = ((1.0, 0.0, 3.0), (0.0, 1.0, -2.0), (0.0, 0.0, 1.0))
    found, image = Stabilization((matrix,), 4.0), np.zeros((20, 30, 4), np.uint8)
    image[8:12, 10:16] = 255
    aligned = found.aligned(image, 0, Size(30, 20))
    assert (aligned[6:10, 13:19] == 255).all() and aligned[..., 3].sum() == 24 * 255
    assert np.array_equal(found.unaligned(aligned, 0, Size(30, 20)), image)
    twice = found.aligned(np.repeat(np.repeat(image, 2, 0), 2, 1), 0, Size(30, 20))  # read at twice the size
    assert (twice[12:20, 26:38] == 255).all()


def test_tiny_frames_have_no_texture() -> None:
    images = [np.full((8, 8, 4), 255, np.uint8)] * 3
    assert find_stabilization(gray_frames(images), images, Size(8, 8)).reason == "texture"
