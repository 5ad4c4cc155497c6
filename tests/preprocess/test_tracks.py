"""Tracks of what the middle frame shows, through the frames between those that are used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from ds4d.core import with_overrides
from ds4d.io import write_png
from ds4d.pipeline import read_input
from ds4d.preprocess import LoadedVideo, VideoConfig, load_video, tracks
from ds4d.presets import PRESETS

WIDTH, HEIGHT, RADIUS, COUNT, STEP = 256, 96, 26, 36, 5
CONFIG = VideoConfig(size=64, frames=8)


def column_of(frame: int) -> int:
    return 40 + STEP * frame


def write_clip(folder: Path, *, background: tuple[int, int, int] | None = None) -> Path:
    """A disc with a pattern that goes to the right by a twentieth of its way in each frame, and so far in a few."""
    rng = np.random.default_rng(3)
    pattern = gaussian_filter(rng.standard_normal((HEIGHT, WIDTH, 3)), (3, 3, 0))
    pattern = (128 + 60 * pattern / pattern.std()).clip(0, 255)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for frame in range(COUNT):
        inside = (columns - column_of(frame)) ** 2 + (rows - 48) ** 2 < RADIUS**2
        colors = np.roll(pattern, STEP * frame, axis=1)
        if background is None:
            image = np.dstack((colors * inside[..., None], 255 * inside))
        else:
            image = np.where(inside[..., None], colors, background)
        write_png(folder / f"{frame:03d}.png", image.astype(np.uint8))
    return folder


def selected(loaded: LoadedVideo) -> list[int]:
    return [round(seconds * 24) for seconds in loaded.seconds]


def test_frames_between_that_cannot_be_decoded_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_third(path, config, indices, side, *, read=tracks.read_frames):
        used = {index for index in indices if index % 5 == 0}  # every fifth is selected
        lost = next(index for index in indices[2:] if index not in used)
        return (pair for pair in read(path, config, indices, side) if pair[0] != lost)

    whole = load_video(write_clip(tmp_path), CONFIG)
    assert selected(whole) == list(range(0, COUNT, 5))
    monkeypatch.setattr(tracks, "read_frames", without_third)
    partly = load_video(tmp_path, CONFIG)
    assert whole.video.tracks is not None and partly.video.tracks is not None
    middle = whole.video.tracks.shape[1] // 2
    center = slice(middle - 2, middle + 2)
    assert (partly.video.tracks - whole.video.tracks)[:, center, center].abs().max() < 0.02


@pytest.mark.parametrize("background", [None, (255, 255, 255)])
def test_a_disc_is_followed(tmp_path: Path, background: tuple[int, int, int] | None) -> None:
    loaded = load_video(write_clip(tmp_path, background=background), CONFIG)
    severities = {finding.name: finding.severity for finding in loaded.findings}
    assert loaded.video.tracks is not None and severities["large_motion"] == "note"
    frames, crop, side = selected(loaded), loaded.crop, loaded.video.tracks.shape[1]
    middle = frames[len(frames) // 2]
    for x, y in ((0, 0), (-15, 0), (0, 15)):  # of the disc
        column = round((column_of(middle) + x - crop.left) / crop.side * side - 0.5)
        row = round((48 + y - crop.top) / crop.side * side - 0.5)
        found = loaded.video.tracks[:, row, column].numpy()
        for frame, (right, down) in zip(frames, found, strict=True):
            assert right == pytest.approx((column_of(frame) + x - crop.left) / crop.side, abs=0.02)
            assert down == pytest.approx((48 + y - crop.top) / crop.side, abs=0.02)


def test_what_lies_beside_the_object_goes_with_it(tmp_path: Path) -> None:
    """Gaussians at the outline may be seen a pixel beside it."""
    loaded = load_video(write_clip(tmp_path), CONFIG)
    assert loaded.video.tracks is not None
    frames = selected(loaded)
    side = loaded.video.tracks.shape[1]
    column = round((column_of(frames[len(frames) // 2]) - loaded.crop.left) / loaded.crop.side * side)
    moved = loaded.video.tracks[-1, 2, column, 0] - loaded.video.tracks[0, 2, column, 0]
    assert moved == pytest.approx(STEP * (frames[-1] - frames[0]) / loaded.crop.side, abs=0.05)


@pytest.mark.parametrize("why", ["off", "small motion", "no frames between", "masks"])
def test_otherwise_nothing_is_followed(tmp_path: Path, why: str) -> None:
    folder = write_clip(tmp_path / "video")
    if why == "masks":
        for path in folder.iterdir():
            (tmp_path / "masks").mkdir(exist_ok=True)
            Image.fromarray(np.asarray(Image.open(path))[..., 3]).save(tmp_path / "masks" / path.name)
    if why == "no frames between":
        for number, path in enumerate(sorted(folder.iterdir())):
            if number % 5:
                path.unlink()
    changed = {
        "off": {"follow": "off"},
        "small motion": {"frames": COUNT},
        "no frames between": {},
        "masks": {"masks": tmp_path / "masks"},
    }[why]
    loaded = load_video(folder, VideoConfig(**{"size": 64, "frames": 8, **changed}))
    assert loaded.video.tracks is None
    severities = {finding.name: finding.severity for finding in loaded.findings}
    assert severities.get("large_motion") == (None if why == "small motion" else "warning")


def test_on_follows_small_motion_too(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "video")
    loaded = load_video(folder, VideoConfig(size=64, follow="on"))
    assert loaded.video.tracks is not None and len(loaded.video.tracks) == 32
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in folder.iterdir():
        Image.fromarray(np.asarray(Image.open(path))[..., 3]).save(masks / path.name)
    refused = load_video(folder, VideoConfig(size=64, follow="on", masks=masks))
    assert refused.video.tracks is None and "not_followed" in [finding.name for finding in refused.findings]


def moving_away() -> tuple[torch.Tensor, torch.Tensor]:
    """Tracks and depths of a square that goes right by 8 of 64 pixels a frame, and 5 % farther away."""
    places = (torch.arange(64) + 0.5) / 64
    still = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    followed = torch.stack([still + torch.tensor([(time - 2) / 8, 0.0]) for time in range(4)])
    depths = torch.zeros(4, 64, 64)
    for time in range(4):
        depths[time, 20:40, 6 + 8 * time : 30 + 8 * time] = 2.0 + 0.1 * (time - 2)
    return followed, depths


def test_tracks_tell_how_far_away_things_move() -> None:
    followed, depths = moving_away()
    found = tracks.with_depths(followed, depths)
    assert torch.equal(found[..., :2], followed)
    for time in range(4):  # beside the square, too
        torch.testing.assert_close(found[time, ..., 2], torch.full((64, 64), 1 + 0.05 * (time - 2)))


def test_what_hides_a_part_for_a_moment_does_not_pull_it_along() -> None:
    followed, depths = moving_away()
    depths[1, 30:32] = torch.where(depths[1, 30:32] > 0, 1.0, 0.0)  # a bar, much nearer
    torch.testing.assert_close(tracks.with_depths(followed, depths)[1, ..., 2], torch.full((64, 64), 0.95))


def test_depth_is_constant_where_it_is_unknown() -> None:
    followed, depths = moving_away()
    depths[1] = 0.0
    assert (tracks.with_depths(followed, None)[..., 2] == 1).all()
    assert (tracks.with_depths(followed, depths)[1, ..., 2] == 1).all()


def test_views_of_a_followed_clip_are_found_without_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    clip, cpu = write_clip(tmp_path / "clip"), torch.device("cpu")
    config = with_overrides(
        PRESETS["tiny"](), {"views.source": "lift", "views.size": 48, "video.frames": CONFIG.frames}
    )
    made = read_input(clip, config, cpu).video
    assert made.tracks is not None

    def refuse(*args: object) -> None:
        raise AssertionError("flow was computed")

    monkeypatch.setattr("ds4d.preprocess.loading.find_tracks", refuse)
    found = read_input(clip, config, cpu, make_views=False).video
    assert found.num_views == made.num_views == 7 and found.tracks is None
    np.testing.assert_array_equal(found.frames.read(0, 3), made.frames.read(0, 3))
