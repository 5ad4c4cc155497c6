"""The images, videos and the PLY file of a run."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notices_to
from ds4d.export import read_ply
from ds4d.geometry import transform_points
from ds4d.io import read_rgba
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians, render_rgb
from ds4d.types import MultiViewVideo
from ds4d.visualize import OutputsConfig, input_image, write_comparison, write_outputs

VIDEOS = ["back.mp4", "comparison.mp4", "front.mp4", "left.mp4", "orbit.mp4", "right.mp4"]


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_outputs_of_a_scene(tmp_path: Path, fitted_scene: DynamicGaussians, training_views: MultiViewVideo) -> None:
    config = OutputsConfig(size=48, fps=8.0, seconds=2.0, slow=1.0, sheet_size=32, sheet_columns=2)
    paths = list(write_outputs(fitted_scene, training_views, renderer_for("cpu"), config, tmp_path))
    assert sorted(path.name for path in paths) == sorted([*VIDEOS, "contact_sheet.png", "middle.ply"])
    orbit, front = frames_of(tmp_path / "orbit.mp4"), frames_of(tmp_path / "front.mp4")
    assert len(orbit) == len(front) == 16 and orbit[0].shape == (48, 48, 3)
    sides = [orbit[i].astype(float) for i in (0, 4, 8)]
    assert np.abs(sides[0] - sides[2]).mean() > 3 and np.abs(sides[0] - sides[1]).mean() > 3
    period = round(fitted_scene.timeline.duration * 8)
    assert np.abs(front[0].astype(float) - front[period]).mean() < 3  # equal but for compression
    assert np.abs(front[0].astype(float) - front[period // 2]).mean() > 0.5


def test_comparison_shows_the_input_beside_the_rendering(
    tmp_path: Path, fitted_scene: DynamicGaussians, training_views: MultiViewVideo
) -> None:
    config = OutputsConfig(size=48, slow=2.0)
    write_comparison(tmp_path / "both.mp4", fitted_scene, training_views, renderer_for("cpu"), config)
    frames = frames_of(tmp_path / "both.mp4")
    front = training_views.cameras.select(torch.arange(6), torch.zeros(6, dtype=torch.long))
    rendered = render_rgb(fitted_scene, renderer_for("cpu"), front, training_views.times)
    with av.open(str(tmp_path / "both.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(
            3.0
        )  # six frames a second, twice as slow
    assert len(frames) == 6 and frames[0].shape[1] > 96
    for time, (frame, ours) in enumerate(zip(frames, rendered, strict=True)):
        left, right = (frame[-52:-4, x : x + 48].astype(float) for x in (4, 56))  # 4 pixels apart, below their labels
        theirs = input_image(training_views, time, 0, 48, 48)
        errors = [np.abs(half - image).mean() for half in (left, right) for image in (theirs, ours)]
        assert errors[0] < errors[1] and errors[3] < errors[2]
        assert all((frame[:20, x : x + 48] < 128).any() for x in (4, 56))
        assert max(errors[0], errors[3]) < 6  # compression halves the resolution of colors, coarse at 48 pixels


def test_sides_of_a_comparison_are_as_large_as_its_input(
    tmp_path: Path, fitted_scene: DynamicGaussians, training_views: MultiViewVideo
) -> None:
    Ks = training_views.cameras.Ks.clone()
    Ks[..., :2, :2] /= 3  # a camera that shows the object small
    far = replace(training_views, cameras=replace(training_views.cameras, Ks=Ks))
    write_comparison(
        tmp_path / "a.mp4", fitted_scene, far, renderer_for("cpu"), OutputsConfig(size=96), sides=("front", "back")
    )
    frame = frames_of(tmp_path / "a.mp4")[3][-100:-4]
    heights = [np.ptp(np.nonzero((frame[:, x : x + 96] < 200).any((1, 2)))[0]) for x in (104, 204, 304)]
    assert 10 < heights[0] < 48
    assert all(abs(height - heights[0]) <= 0.25 * heights[0] for height in heights[1:])


@pytest.mark.usefixtures("without_pyav")
def test_only_videos_need_pyav(
    tmp_path: Path, fitted_scene: DynamicGaussians, training_views: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    with notices_to((notices := []).append):
        written = list(write_outputs(fitted_scene, training_views, renderer_for("cpu"), quick_config.outputs, tmp_path))
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "outputs")] * 6
    assert [path.name for path in written] == ["contact_sheet.png", "middle.ply"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact_sheet.png", "middle.ply"]


def test_files_of_a_run(finished_run: Path, quick_config: GenerateConfig) -> None:
    names = {path.name for path in finished_run.iterdir()}
    assert names >= {
        "config.json", "log.jsonl", "checkpoints", "scene.safetensors", "scene.json", "metrics.json", "report.html",
        "contact_sheet.png", "loss.png", "middle.ply", *VIDEOS,
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".")]
    assert len(frames_of(finished_run / "orbit.mp4")) == 6
    sheet = read_rgba(finished_run / "contact_sheet.png")
    rows, columns = 8, quick_config.outputs.sheet_columns  # two views beside their renderings, and four sides
    assert sheet.shape[0] > rows * 32 and sheet.shape[1] > columns * 32


def test_middle_frame_is_written_in_world_space(finished_run: Path, fitted_scene: DynamicGaussians) -> None:
    middle = torch.tensor([fitted_scene.timeline.times[fitted_scene.timeline.middle]])
    raw = read_ply(finished_run / "middle.ply")
    with torch.no_grad():
        expected = fitted_scene.raw_at(middle).means[0]
    torch.testing.assert_close(transform_points(fitted_scene.world, raw.means), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["size", "fps", "seconds", "slow", "sheet_size", "sheet_columns"])
def test_lengths_must_be_positive(name: str) -> None:
    kind = type(getattr(OutputsConfig(), name))
    with pytest.raises(ValueError, match=rf"{name} must be .*, got 0"):
        replace(OutputsConfig(), **{name: kind(0)})
