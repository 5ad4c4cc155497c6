"""Trajectories: times of the scene, and cameras that see the whole object."""

import numpy as np
import pytest
import torch

from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, BakedGaussians, DynamicGaussians, LoopedScene, Timeline, render_rgb, viewing_distance
from ds4d.types import RawGaussians, Similarity
from ds4d.visualize import (
    SIDES,
    OutputsConfig,
    Trajectory,
    fixed_path,
    fixed_trajectory,
    input_trajectory,
    orbit_trajectory,
    playing_times,
)

TIMELINE = Timeline((0.0, 0.5, 1.0), 1.0, False)


@pytest.fixture
def scene(tiny_gaussians: RawGaussians) -> BakedGaussians:
    return BakedGaussians(tiny_gaussians.expand_times(3), TIMELINE, Similarity.identity())


def test_playing_times_go_from_the_first_frame_to_the_last() -> None:
    times = playing_times(TIMELINE, OutputsConfig(fps=10.0, slow=3.0))
    assert len(times) == 30  # one second, three times slower, ten frames a second
    assert (times[0], times[-1]) == (0, 1)
    assert torch.allclose(times.diff(), times.diff()[0])
    assert playing_times(Timeline((0.0,), 1.0, False), OutputsConfig()).tolist() == [0]


def test_default_viewpoint_sees_the_whole_object_from_every_side(fitted_scene: DynamicGaussians) -> None:
    times = torch.linspace(0, 1, 5)
    for azimuth_deg in SIDES.values():
        cameras = fixed_path(
            5,
            azimuth_deg=azimuth_deg,
            elevation_deg=10.0,
            fovy_deg=FOVY_DEG,
            distance=viewing_distance(fitted_scene),
            size=64,
        )
        images = np.stack(list(render_rgb(fitted_scene, renderer_for("cpu"), cameras, times)))
        assert images[:, [0, -1]].min() > 240 and images[:, :, [0, -1]].min() > 240  # nothing is cut off
        covered = (images < 200).any((0, -1))
        assert max(covered.any(0).sum(), covered.any(1).sum()) > 32  # at least half the image


def test_fixed_camera_plays_the_scene_a_whole_number_of_times(scene: BakedGaussians) -> None:
    trajectory = fixed_trajectory(scene, OutputsConfig(size=32, fps=8.0, seconds=2.5), 90.0)
    assert (len(trajectory.times), trajectory.repeats) == (8, 3)  # 2.5 seconds are the minimum
    assert trajectory.cameras.is_static


@pytest.mark.parametrize(("loops", "frames"), [(False, 20), (True, 24)])
def test_orbit_plays_a_looping_scene_a_whole_number_of_times(scene: BakedGaussians, loops: bool, frames: int) -> None:
    trajectory = orbit_trajectory(LoopedScene(scene) if loops else scene, OutputsConfig(size=32, fps=8.0, seconds=2.5))
    assert len(trajectory.times) == frames and (trajectory.times[8:16] == trajectory.times[:8]).all()
    assert not trajectory.cameras.is_static


def test_input_camera_follows_the_nearest_input_frame(scene: BakedGaussians) -> None:
    cameras = orbit_trajectory(scene, OutputsConfig(size=32, fps=1.0, seconds=3.0)).cameras
    config = OutputsConfig(fps=7.0, seconds=0.1)
    trajectory = input_trajectory(scene, config, cameras, torch.tensor(TIMELINE.times), height=16)
    assert (trajectory.cameras.width, trajectory.cameras.height) == (16, 16)
    nearest = (trajectory.times[:, None] - torch.tensor(TIMELINE.times)).abs().argmin(1)
    torch.testing.assert_close(trajectory.cameras.viewmats, cameras.viewmats[nearest])


def test_errors(scene: BakedGaussians) -> None:
    cameras = fixed_path(3, azimuth_deg=0.0, elevation_deg=0.0, fovy_deg=40.0, distance=2.0, size=64)
    with pytest.raises(ValueError, match=r"times must be in \[0, 1\], got 0.0 to 1.5"):
        Trajectory(cameras, torch.tensor([0.0, 0.5, 1.5]))
    with pytest.raises(ValueError, match=r"cameras must be one per time, \[2, 1\], got \[3, 1\]"):
        Trajectory(cameras, torch.tensor([0.0, 1.0]))
