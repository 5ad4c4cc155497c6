"""What a finished scene is shown by."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.data import load_views
from ds4d.export import read_ply
from ds4d.geometry import transform_cameras, transform_points
from ds4d.io import read_rgba
from ds4d.rendering import renderer_for
from ds4d.scene import Clip, DynamicGaussians, draw_rgb
from ds4d.visualize import (
    FOVY_DEG,
    SIDES,
    OutputsConfig,
    fixed_path,
    input_image,
    playing_times,
    viewing_distance,
    write_comparison,
    write_fixed,
    write_orbit,
    write_outputs,
)

CLIP = Clip((0.0, 0.5, 1.0), 1.0, False)


@pytest.fixture(scope="module")
def scene(finished_run: Path) -> DynamicGaussians:
    return DynamicGaussians.load(finished_run)


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_clip_plays_from_its_first_frame_to_its_last() -> None:
    times = playing_times(CLIP, OutputsConfig(fps=10.0, slow=3.0))
    assert len(times) == 30  # one second, three times slower, ten frames a second
    assert (times[0], times[-1]) == (0, 1)
    assert torch.allclose(times.diff(), times.diff()[0])
    assert playing_times(Clip((0.0,), 1.0, False), OutputsConfig()).tolist() == [0]


def test_the_whole_object_is_seen_from_every_side(scene: DynamicGaussians, quick_config: GenerateConfig) -> None:
    distance = viewing_distance(scene)
    times = torch.linspace(0, 1, 5)
    for azimuth_deg in SIDES.values():
        cameras = fixed_path(
            5, azimuth_deg=azimuth_deg, elevation_deg=10.0, fovy_deg=FOVY_DEG, distance=distance, size=64
        )
        images = np.stack(list(draw_rgb(scene, renderer_for("cpu"), cameras, times)))
        assert images[:, [0, -1]].min() > 240 and images[:, :, [0, -1]].min() > 240  # nothing is cut off
        drawn = (images < 200).any((0, -1))
        assert max(drawn.any(0).sum(), drawn.any(1).sum()) > 32  # and it is no dot


def test_orbits_turn_while_time_plays(tmp_path: Path, scene: DynamicGaussians) -> None:
    config = OutputsConfig(size=48, fps=8.0, seconds=2.0, slow=2.0)
    write_orbit(tmp_path / "orbit.mp4", scene, renderer_for("cpu"), config)
    frames = frames_of(tmp_path / "orbit.mp4")
    assert len(frames) == 16 and frames[0].shape == (48, 48, 3)
    front, right, back = (frames[i].astype(float) for i in (0, 4, 8))
    assert np.abs(front - back).mean() > 3 and np.abs(front - right).mean() > 3


def test_standing_videos_repeat_the_clip(tmp_path: Path, scene: DynamicGaussians) -> None:
    config = OutputsConfig(size=32, fps=8.0, seconds=2.5, slow=1.0)
    write_fixed(tmp_path / "front.mp4", scene, renderer_for("cpu"), config, 0.0)
    frames = frames_of(tmp_path / "front.mp4")
    period = round(scene.clip.duration * 8)
    assert (period, len(frames)) == (8, 24)  # a whole third time, as 2.5 seconds are the least
    assert (
        np.abs(frames[0].astype(float) - frames[period]).mean() < 3
    )  # but for compression, which is coarse at 32 pixels
    assert np.abs(frames[0].astype(float) - frames[period // 2]).mean() > 0.5


def test_the_comparison_shows_the_input_beside_the_object(
    tmp_path: Path, scene: DynamicGaussians, sample_folder: Path, quick_config: GenerateConfig
) -> None:
    video = load_views(sample_folder, quick_config.views)
    video = replace(video, cameras=transform_cameras(scene.world, video.cameras))
    config = OutputsConfig(size=48, slow=2.0)
    write_comparison(tmp_path / "both.mp4", scene, video, renderer_for("cpu"), config)
    frames = frames_of(tmp_path / "both.mp4")
    front = video.cameras.select(torch.arange(6), torch.zeros(6, dtype=torch.long))
    drawn = draw_rgb(scene, renderer_for("cpu"), front, video.times)
    with av.open(str(tmp_path / "both.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(3.0)  # the clip's six, twice as slow
    assert len(frames) == 6 and frames[0].shape == (48, 96, 3)
    for time, (frame, ours) in enumerate(zip(frames, drawn, strict=True)):
        left, right = frame[:, :48].astype(float), frame[:, 48:].astype(float)
        theirs = input_image(video, time, 0, 48, 48)
        errors = [np.abs(half - image).mean() for half in (left, right) for image in (theirs, ours)]
        assert errors[0] < errors[1] and errors[3] < errors[2]
        assert max(errors[0], errors[3]) < 6  # compression halves the colors' size, which is coarse at 48 pixels


@pytest.mark.usefixtures("without_pyav")
def test_without_pyav_all_but_videos_is_written(
    tmp_path: Path, scene: DynamicGaussians, sample_folder: Path, quick_config: GenerateConfig
) -> None:
    video = load_views(sample_folder, quick_config.views)
    video = replace(video, cameras=transform_cameras(scene.world, video.cameras))
    with pytest.warns(UserWarning, match=r"\.mp4 is not written: .*PyAV") as told:
        written = list(write_outputs(scene, video, renderer_for("cpu"), quick_config.outputs, tmp_path))
    assert [path.name for path in written] == ["contact_sheet.png", "middle.ply"]
    assert len(told) == 6 and sorted(path.name for path in tmp_path.iterdir()) == ["contact_sheet.png", "middle.ply"]


def test_a_run_holds_everything(finished_run: Path, quick_config: GenerateConfig, scene: DynamicGaussians) -> None:
    names = {path.name for path in finished_run.iterdir()}
    assert names >= {
        "config.json", "log.jsonl", "checkpoints", "scene.safetensors", "scene.json", "metrics.json",
        "comparison.mp4", "report.html",
        "orbit.mp4", "front.mp4", "right.mp4", "back.mp4", "left.mp4", "contact_sheet.png", "loss.png", "middle.ply",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".")]
    assert len(frames_of(finished_run / "orbit.mp4")) == 6
    sheet = read_rgba(finished_run / "contact_sheet.png")
    rows, columns = 8, quick_config.outputs.sheet_columns  # two views beside ours, and four sides
    assert sheet.shape[0] > rows * 32 and sheet.shape[1] > columns * 32


def test_the_middle_frame_is_exported_in_the_users_world(finished_run: Path, scene: DynamicGaussians) -> None:
    middle = torch.tensor([scene.clip.times[scene.clip.middle]])
    raw = read_ply(finished_run / "middle.ply")
    with torch.no_grad():
        expected = scene.raw_at(middle).means[0]
    torch.testing.assert_close(transform_points(scene.world, raw.means), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["size", "fps", "seconds", "slow", "sheet_size", "sheet_columns"])
def test_lengths_must_be_above_zero(name: str) -> None:
    kind = type(getattr(OutputsConfig(), name))
    with pytest.raises(ValueError, match=rf"OutputsConfig: {name} must lie in .*, got 0"):
        replace(OutputsConfig(), **{name: kind(0)})
