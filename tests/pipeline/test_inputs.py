"""What an input becomes: a video, a folder of views, and a folder whose front view is the video."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import Notice, Warned, notices_to
from ds4d.geometry import opencv_to_opengl, orbit_cameras, project_points
from ds4d.io import write_png
from ds4d.multiview import GeneratorSettings, ViewsConfig
from ds4d.multiview.inflate import InflateConfig
from ds4d.multiview.zero123plus import Zero123PlusConfig
from ds4d.pipeline import TrainingInput, read_input
from ds4d.preprocess import VideoConfig

CPU = torch.device("cpu")


def read(path: Path, config: GenerateConfig | None = None, **views: object) -> TrainingInput:
    config = config or GenerateConfig()
    return read_input(path, replace(config, views=ViewsConfig(**views)), CPU)  # ty: ignore[invalid-argument-type]


@pytest.fixture
def video(sample_folder: Path) -> Path:
    return sample_folder / "front.mp4"


@pytest.fixture
def z_up(tmp_path: Path) -> Path:
    """A red box recorded by one camera of a world with z up, which stands on the side of +x and looks down a little."""
    camera = orbit_cameras([90.0], [20.0], fovy_deg=40.0, distance=3.0, width=32, height=32).viewmats[0].double()
    to_y = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]).double()
    camtoworld = opencv_to_opengl(camera @ to_y)
    image = np.zeros((32, 32, 4), np.uint8)
    image[8:24, 10:20] = (200, 40, 40, 255)
    frames = []
    for index in range(3):
        write_png(tmp_path / f"{index}.png", image)
        frames.append({"file_path": f"{index}", "time": index / 2, "transform_matrix": camtoworld.tolist()})
    content = {"camera_angle_x": math.radians(40.0), "frames": frames}
    (tmp_path / "transforms_train.json").write_text(json.dumps(content))
    return tmp_path


def test_a_video_is_framed_and_gets_six_views_and_a_surface(video: Path) -> None:
    clip = read(video, size=64)
    assert (clip.video.num_times, clip.video.num_views) == (6, 7)
    assert (clip.video.frames.width, clip.video.frames.height) == (64, 64)
    assert clip.crop is not None and clip.crop.size == 64 and clip.points is not None
    assert clip.video.duration == pytest.approx(0.5)
    assert clip.description.startswith("lift (") and "ds4d weights" in clip.description


def test_of_a_video_part_may_be_taken(video: Path) -> None:
    short = read(video, replace(GenerateConfig(), video=VideoConfig(frames=3)), size=32)
    assert short.video.num_times == 3


def test_a_videos_camera_stands_where_it_is_said_to(video: Path) -> None:
    usual, above = read(video, size=32), read(video, size=32, elevation=25.0, fovy=30.0)
    said = orbit_cameras([0.0], [25.0], fovy_deg=30.0, distance=2.0, width=32, height=32)
    torch.testing.assert_close(above.video.cameras.viewmats[0, :1], said.viewmats)
    torch.testing.assert_close(above.video.cameras.Ks[0, :1], said.Ks)
    assert usual.video.cameras.viewmats[0, 0, 1, 3] == 0


def test_trust_in_the_views_is_half_or_as_said(video: Path) -> None:
    assert read(video, size=32).video.view_weights.tolist() == [1.0] + [0.5] * 6
    assert read(video, size=32, generated_weight=0.25).video.view_weights.tolist() == [1.0] + [0.25] * 6


def test_options_of_folders_are_refused_for_videos_and_the_other_way_round(video: Path, sample_folder: Path) -> None:
    with pytest.raises(ValueError, match="--up must not be given"):
        read(video, up="z")
    with pytest.raises(ValueError, match="--start must not be given"):
        read(sample_folder, replace(GenerateConfig(), video=VideoConfig(start=0.1)))
    matting = GenerateConfig(video=VideoConfig(matting_model=Path("none.onnx")))
    with pytest.raises(ValueError, match="--matting-model must not be given"):
        read(sample_folder, matting)
    with pytest.raises(ValueError, match="--elevation must not be given"):
        read(sample_folder, elevation=10.0)
    with pytest.raises(ValueError, match="must be a folder of multi-view frames"):
        read(video, source="folder")


def test_a_folder_of_views_is_taken_as_it_is(sample_folder: Path) -> None:
    clip = read(sample_folder)
    assert clip.video.num_views == 7 and clip.points is None and clip.crop is None
    assert clip.description == "7 views of the folder" and clip.video.view_weights.unique().tolist() == [1.0]


@pytest.mark.parametrize("source", ["auto", "inflate"])
def test_a_single_input_view_gets_views_in_its_own_world(sample_folder: Path, source: str) -> None:
    clip = read(sample_folder, splits=("front",), source=source)
    own = read(sample_folder).video
    assert clip.crop is None and clip.video.num_views == 7
    torch.testing.assert_close(clip.video.cameras.viewmats[:, 0], own.cameras.viewmats[:, 0])
    torch.testing.assert_close(clip.video.cameras.Ks[:, 0], own.cameras.Ks[:, 0])
    np.testing.assert_array_equal(clip.video.frames.read(3, 0), own.frames.read(3, 0))


def test_of_several_views_the_front_is_the_video_if_a_generator_is_asked_for(sample_folder: Path) -> None:
    alone, all_views = read(sample_folder, splits=("front",), source="inflate"), read(sample_folder, source="inflate")
    np.testing.assert_array_equal(alone.video.frames.read(2, 4), all_views.video.frames.read(2, 4))


def test_facing_reaches_the_shape(sample_folder: Path) -> None:
    turned = GeneratorSettings(inflate=InflateConfig(facing=45.0))
    plain, tilted = (
        read(sample_folder, source="inflate", generators=generators) for generators in (GeneratorSettings(), turned)
    )
    assert plain.points is not None and tilted.points is not None
    right, left = plain.points.positions[:, 0] > 0.1, plain.points.positions[:, 0] < -0.1
    assert tilted.points.positions[right, 2].mean() > plain.points.positions[right, 2].mean() + 0.05
    assert tilted.points.positions[left, 2].mean() < plain.points.positions[left, 2].mean() - 0.05


def test_settings_of_another_generator_are_said_to_have_no_effect(sample_folder: Path) -> None:
    turned = GeneratorSettings(inflate=InflateConfig(facing=45.0))
    found: list[Notice] = []
    with notices_to(found.append):
        read(sample_folder, splits=("front",), generators=turned)
        assert any(isinstance(n, Warned) and n.part == "views" and "--views inflate" in n.message for n in found)
        found.clear()
        read(sample_folder, splits=("front",), source="inflate", generators=turned)
    assert not [notice for notice in found if notice.part == "views"]


def test_a_world_with_z_up_is_kept(z_up: Path) -> None:
    clip = read(z_up, up="z")
    video, points = clip.video, clip.points
    assert video.up == "z" and points is not None
    torch.testing.assert_close(video.times, torch.tensor([0.0, 0.5, 1.0]))
    camera = video.cameras[0, :1]
    pixels = project_points(points.positions, camera)[0][0]
    assert pixels[:, 0].min() > 9.5 and pixels[:, 0].max() < 20.5 and pixels[:, 1].min() > 7.5
    centers = video.cameras.centers[0]
    torch.testing.assert_close(centers.norm(dim=-1), torch.full((7,), 3.0), atol=1e-4, rtol=0)
    heights = [20.0, *[30.0, -20.0] * 3]
    torch.testing.assert_close(centers[:, 2], torch.tensor([3 * math.sin(math.radians(e)) for e in heights]))


def test_one_still_view_may_stay_alone(sample_folder: Path) -> None:
    with notices_to((notices := []).append):
        assert read(sample_folder, splits=("front",), source="folder").video.num_views == 1
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "input")]


def test_a_camera_that_moves_has_no_views_made(z_up: Path) -> None:
    content = json.loads((z_up / "transforms_train.json").read_text())
    content["frames"][1]["transform_matrix"][0][3] += 0.1
    (z_up / "transforms_train.json").write_text(json.dumps(content))
    assert read(z_up, up="z").video.num_views == 1
    with pytest.raises(ValueError, match="static camera"):
        read(z_up, up="z", source="inflate")


def test_zero123plus_without_weights_says_what_to_do(video: Path) -> None:
    with pytest.raises(ValueError, match="hf download"):
        read(video, size=32, source="zero123plus")


@pytest.mark.parametrize("source", ["front.mp4", "."])
def test_the_matting_model_cuts_the_views_out(
    sample_folder: Path, source: str, tiny_zero123plus: Path, tmp_path: Path
) -> None:
    """One option for both: a file that is none is refused where the views are cut, though the input has alpha."""
    tiny = Zero123PlusConfig(folder=tiny_zero123plus, view_size=64, steps=1)
    config = GenerateConfig(
        views=ViewsConfig(source="zero123plus", size=32, generators=GeneratorSettings(zero123plus=tiny)),
        video=VideoConfig(matting_model=tmp_path / "none.onnx"),
    )
    with pytest.raises(ValueError, match=r"none\.onnx"):
        read_input(sample_folder / source, config, CPU)
