"""Compositing over the input video: a red ball, rendered where the crop places it in the video."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.geometry import RIGS, rgb_to_sh, rig_cameras
from ds4d.io import write_png
from ds4d.preprocess import CropBox, VideoConfig, VideoCrop
from ds4d.rendering import CpuRenderer
from ds4d.scene import DynamicGaussians, Timeline
from ds4d.types import RawGaussians, Similarity
from ds4d.visualize import overlay_video, read_source_video
from ds4d.visualize.overlay import without_object

WIDTH, HEIGHT, FRAMES = 64, 48, 3
BOX = CropBox(left=30, top=-10, side=40, size=32, video_width=WIDTH, video_height=HEIGHT)
CENTER = (30 + 20, -10 + 20)  # of the crop in the video: column, row
CONFIG = VideoConfig(frames=FRAMES)


@pytest.fixture
def scene() -> DynamicGaussians:
    """A red ball at the origin of world space; normalized space is scaled and shifted."""
    ball = RawGaussians(
        means=torch.tensor([[0.1, 0.2, 0.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.full((1, 3), math.log(0.1)),
        opacity_logits=torch.tensor([10.0]),
        sh=rgb_to_sh(torch.tensor([[1.0, 0, 0]]))[:, None],
    )
    world = Similarity(2.0, torch.eye(3), torch.tensor([0.1, 0.2, 0.0]))
    return DynamicGaussians(ball, None, Timeline((0.0, 0.5, 1.0), 1.0, False), world)


@pytest.fixture
def crop() -> VideoCrop:
    camera = rig_cameras(RIGS["stag4d"][:1], 32, 32)
    viewmat, K = (tuple(map(tuple, matrix[0].tolist())) for matrix in (camera.viewmats, camera.Ks))
    return VideoCrop(BOX, viewmat, K)


def gray_video(folder: Path, *, width: int = WIDTH, frames: int = FRAMES) -> Path:
    """Frames that grow brighter from left to right and over time."""
    for frame in range(frames):
        image = np.full((HEIGHT, width, 4), 255, np.uint8)
        image[..., :3] = (np.arange(width) + 40 * frame)[None, :, None]
        folder.mkdir(exist_ok=True)
        write_png(folder / f"{frame}.png", image)
    return folder


def test_scene_is_composited_at_its_position_in_the_video(
    tmp_path: Path, crop: VideoCrop, scene: DynamicGaussians
) -> None:
    raw_video = read_source_video(gray_video(tmp_path / "video"), crop, CONFIG)
    frames = list(overlay_video(scene, CpuRenderer(), crop, raw_video, size=None))
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * FRAMES
    for number, frame in enumerate(frames):
        reddish = (frame[..., 0].astype(int) - frame[..., 1]).clip(0)
        rows, columns = np.indices(reddish.shape)
        column, row = ((reddish * index).sum() / reddish.sum() + 0.5 for index in (columns, rows))
        assert (column, row) == pytest.approx(CENTER, abs=0.6)
        assert frame[CENTER[1], CENTER[0], 0] > 200 and frame[CENTER[1], CENTER[0], 1] < 40
        # Outside the crop, and in it away from the ball, the video is unchanged bit by bit.
        before = np.broadcast_to((np.arange(WIDTH) + 40 * number)[None, :, None], frame.shape)
        np.testing.assert_array_equal(frame[:, :32], before[:, :32])
        np.testing.assert_array_equal(frame[32:], before[32:])


@pytest.mark.parametrize("move_deg", [None, 0.0])
def test_the_object_goes_where_the_hand_held_camera_saw_it(
    tmp_path: Path, crop: VideoCrop, scene: DynamicGaussians, move_deg: float | None
) -> None:
    """Frames that were aligned for the run; a moved camera is steady, and so are its frames."""
    shifts = (-4.0, 0.0, 3.0)
    aligned = tuple(((1.0, 0.0, shift), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)) for shift in shifts)
    crop = replace(crop, alignment=aligned)
    raw_video = read_source_video(gray_video(tmp_path / "video"), crop, CONFIG)
    frames = list(overlay_video(scene, CpuRenderer(), crop, raw_video, size=None, move_deg=move_deg))
    for frame, shift in zip(frames, shifts, strict=True):
        reddish = (frame[..., 0].astype(int) - frame[..., 1]).clip(0)
        column = (reddish * np.arange(WIDTH)).sum() / reddish.sum() + 0.5
        assert column == pytest.approx(CENTER[0] - (shift if move_deg is None else 0.0), abs=0.6)
        assert (frame[40, :, 1] < 200).all()  # no white border, where a frame was moved


def test_size_of_the_rendering_does_not_move_the_object(
    tmp_path: Path, crop: VideoCrop, scene: DynamicGaussians
) -> None:
    raw_video = read_source_video(gray_video(tmp_path / "video"), crop, CONFIG)
    small, large = (next(overlay_video(scene, CpuRenderer(), crop, raw_video, size)) for size in (32, 128))
    assert np.abs(small.astype(int) - large).mean() < 2


def test_transparent_pixels_become_white(tmp_path: Path, crop: VideoCrop, scene: DynamicGaussians) -> None:
    (tmp_path / "video").mkdir()
    for frame in range(FRAMES):
        image = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        image[20:30, 5:15] = (0, 0, 200, 255)
        write_png(tmp_path / "video" / f"{frame}.png", image)
    raw_video = read_source_video(tmp_path / "video", crop, CONFIG)
    frame = next(overlay_video(scene, CpuRenderer(), crop, raw_video, size=None))
    assert frame[40, 10].tolist() == [255, 255, 255] and frame[25, 10].tolist() == [0, 0, 200]


def test_another_video_is_refused(tmp_path: Path, crop: VideoCrop, scene: DynamicGaussians) -> None:
    with pytest.raises(ValueError, match=r"--over .* 64 x 48 pixels, got 70 x"):
        read_source_video(gray_video(tmp_path / "wider", width=70), crop, CONFIG)
    short = read_source_video(gray_video(tmp_path / "short", frames=2), crop, CONFIG)
    with pytest.raises(ValueError, match=r"--over .* 3 frames, got 2"):
        next(overlay_video(scene, CpuRenderer(), crop, short, size=None))


def test_a_moved_camera_shows_another_side_over_the_background_without_the_object(
    tmp_path: Path, crop: VideoCrop
) -> None:
    """A ball to the right of the axis, which the video shows in green at the same place."""
    ball = RawGaussians(
        means=torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.0, 0.3]]),  # one on the right, one in front
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
        log_scales=torch.full((2, 3), math.log(0.05)),
        opacity_logits=torch.tensor([10.0, 10.0]),
        sh=rgb_to_sh(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]))[:, None],
    )
    scene = DynamicGaussians(ball, None, Timeline((0.0, 0.5, 1.0), 1.0, False), Similarity.identity())
    raw_video = read_source_video(gray_video(tmp_path / "video"), crop, CONFIG)
    still, moved = (
        next(iter(overlay_video(scene, CpuRenderer(), crop, raw_video, size=None, move_deg=degrees)))
        for degrees in (0.0, 60.0)
    )

    def column_of(image: np.ndarray, channel: int) -> float:
        excess = (image[..., channel].astype(int) - np.delete(image, channel, axis=-1).max(axis=-1)).clip(0)
        return float((excess * np.arange(WIDTH)).sum() / excess.sum())

    # From further right, what is in front moves to the left, and what is on the right comes to the front.
    assert column_of(moved, 2) < column_of(still, 2) - 2
    assert column_of(moved, 0) < column_of(still, 0) - 2


def test_what_the_object_hid_is_filled_from_other_frames() -> None:
    rng = np.random.default_rng(0)
    background = rng.integers(0, 255, (40, 60, 4), dtype=np.uint8)
    background[..., 3] = 255
    images, alphas = [], []
    for time in range(6):
        alpha = np.zeros((40, 60), np.uint8)
        alpha[10:30, 5 + 8 * time : 13 + 8 * time] = 255
        images.append(np.where(alpha[..., None] > 0, np.array([255, 0, 0, 255], np.uint8), background))
        alphas.append(alpha)
    for image in without_object(images, alphas):
        np.testing.assert_array_equal(image, background)


def test_what_all_frames_hide_is_filled_from_beside_it() -> None:
    image = np.full((20, 30, 4), 255, np.uint8)
    image[:, 15:, :3] = 50
    alpha = np.zeros((20, 30), np.uint8)
    alpha[8:12, 4:8] = 255
    hidden = image.copy()
    hidden[8:12, 4:8] = 0
    for filled in without_object([hidden] * 3, [alpha] * 3):
        np.testing.assert_array_equal(filled, image)
