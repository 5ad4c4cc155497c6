"""A fitted scene from Python: evaluated, rendered and exported in world space."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import ds4d
from ds4d.api import Camera, DynamicScene
from ds4d.config import GenerateConfig
from ds4d.export import read_ply
from ds4d.pipeline import read_input
from ds4d.rendering import renderer_for
from ds4d.runs import read_record
from ds4d.scene import FOVY_DEG, render_rgb, viewing_distance
from ds4d.visualize import fixed_path


@pytest.fixture(scope="module")
def scene(finished_run: Path) -> DynamicScene:
    return ds4d.load(str(finished_run), device="cpu")


@pytest.fixture(scope="module")
def input_camera(sample_folder: Path, quick_config: GenerateConfig) -> Camera:
    """The camera of the input view, in world space."""
    cameras = read_input(sample_folder, quick_config, torch.device("cpu")).video.cameras
    return Camera.of(cameras.at_time(0)[:1])


@pytest.mark.parametrize(
    "several", [[0.0, 0.37], (0.0, 0.37), np.array([0.0, 0.37]), torch.tensor([0.0, 0.37]), np.float32([0.0, 0.37])]
)
def test_times_may_be_lists_arrays_and_tensors(scene: DynamicScene, several: object) -> None:
    gaussians = scene.at(several)
    assert gaussians.means.shape == (2, scene.num_gaussians, 3)
    torch.testing.assert_close(scene.at(0.37).means, gaussians.means[1])


@pytest.mark.parametrize("one", [0.37, np.float64(0.37), torch.tensor(0.37)])
def test_a_single_time_has_no_time_axis(scene: DynamicScene, one: object) -> None:
    gaussians = scene.at(one)
    assert gaussians.means.shape == (scene.num_gaussians, 3)
    assert not any(getattr(gaussians, f.name).requires_grad for f in fields(gaussians))


@pytest.mark.parametrize("time", [-0.1, 1.5, [], [0.5, float("nan")], np.array([[0.5]])])
def test_times_outside_the_clip_are_refused(scene: DynamicScene, time: object) -> None:
    with pytest.raises(ValueError, match="time"):
        scene.at(time)


def test_the_input_camera_sees_the_input(scene: DynamicScene, finished_run: Path, input_camera: Camera) -> None:
    """In world space, rendered as the run's own images are."""
    image = scene.render(scene.times[2], input_camera)
    record = read_record(finished_run / "config.json")
    video = ds4d.load_views(record.input, record.resolved_config.views)
    truth = np.asarray(video.frames.read(2, 0)).astype(float)
    on_white = truth[..., :3] + 255 - truth[..., 3:]
    assert image.shape == on_white.shape and image.dtype == np.uint8
    psnr = 10 * np.log10(255**2 / np.mean((image - on_white) ** 2))
    assert psnr > 15


def test_gaussians_of_world_space_give_the_same_image(scene: DynamicScene, input_camera: Camera) -> None:
    gaussians = scene.at([0.37])
    cameras = input_camera.cameras.expand_times(1)
    with torch.no_grad():
        rendering = renderer_for("cpu").render(gaussians, cameras, backgrounds=torch.ones(1, 1, 3))
    expected = scene.render_tensors(0.37, input_camera)
    # A few Gaussians fall on the other side of the renderer's cut-offs.
    assert (rendering.colors[0, 0] - expected.colors).abs().mean() < 1e-3
    solid = expected.alphas > 0.9
    assert (rendering.depths[0, 0] - expected.depths)[solid].abs().median() < 1e-3


def test_default_camera_is_that_of_the_command_line(scene: DynamicScene) -> None:
    path = fixed_path(
        1, azimuth_deg=30.0, elevation_deg=10.0, fovy_deg=FOVY_DEG, distance=viewing_distance(scene.model), size=64
    )
    expected = next(render_rgb(scene.model, renderer_for("cpu"), path, torch.tensor([0.5])))
    image = scene.render(0.5, scene.orbit_camera(30.0, 10.0, size=64))
    assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1


def test_sizes_and_backgrounds(scene: DynamicScene) -> None:
    red = scene.render([0.0, 1.0], size=(40, 24), background=(1.0, 0.0, 0.0))
    assert red.shape == (2, 24, 40, 3) and red[0, 0, 0].tolist() == [255, 0, 0]
    named = scene.render(0.0, size=24, background="red")
    assert named.shape == (24, 24, 3) and named[0, 0].tolist() == [255, 0, 0]
    clear = scene.render(0.0, size=24, background=None)
    assert clear.shape == (24, 24, 4) and clear[0, 0, 3] == 0 and clear[..., 3].max() > 200


def test_tensors_have_the_images_values(scene: DynamicScene) -> None:
    images = scene.render_tensors([0.0, 0.5], size=24)
    assert [tuple(part.shape) for part in images] == [(2, 3, 24, 24), (2, 1, 24, 24), (2, 1, 24, 24)]
    colors = scene.render_tensors(0.5, size=24).colors
    torch.testing.assert_close(colors, images.colors[1])
    bytes_ = torch.from_numpy(scene.render(0.5, size=24)).movedim(-1, 0)
    assert (colors * 255 - bytes_).abs().max() <= 0.5 + 1e-3


def test_export_follows_the_ending(scene: DynamicScene, tmp_path: Path) -> None:
    assert scene.export(str(tmp_path / "middle.ply"), times=[0.5]) == [tmp_path / "middle.ply"]
    torch.testing.assert_close(read_ply(tmp_path / "middle.ply").means, scene.at(0.5).means, atol=1e-5, rtol=1e-5)
    assert (tmp_path / "page.html") in scene.export(tmp_path / "page.html", times=[0.0, 1.0])
    with pytest.raises(ValueError, match="xyz"):
        scene.export(tmp_path / "scene.xyz")


def test_runs_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        ds4d.load(tmp_path, device="cpu")


def test_a_scene_describes_itself(scene: DynamicScene) -> None:
    assert f"{scene.num_gaussians} Gaussians" in repr(scene)
    assert scene.times[0] == 0 and scene.times[-1] == 1 and scene.duration > 0 and scene.device.type == "cpu"


def _sent(scene: DynamicScene) -> DynamicScene:
    return pickle.loads(pickle.dumps(scene))  # noqa: S301  (what was written here)


@pytest.mark.parametrize("copied", [copy.deepcopy, _sent])
def test_scenes_can_be_copied_and_sent(scene: DynamicScene, copied: Callable[[DynamicScene], DynamicScene]) -> None:
    other = copied(scene)
    assert np.array_equal(other.render(0.4, size=32), scene.render(0.4, size=32))
    assert other.model is not scene.model
