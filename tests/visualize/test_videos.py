"""Videos in every format, against the images they should hold."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.rendering import CpuRenderer
from ds4d.scene import BakedGaussians, Timeline, render_rgb, render_rgba
from ds4d.types import Cameras, RawGaussians, Similarity
from ds4d.visualize import SUFFIXES, Trajectory, fixed_path, render_trajectory, render_video

TIMES = torch.tensor([0.0, 0.4, 1.0])


@pytest.fixture
def scene(tiny_gaussians: RawGaussians) -> BakedGaussians:
    """Twelve Gaussians that move to the right."""
    frames = tiny_gaussians.expand_times(2)
    means = frames.means + torch.tensor([[[0.0, 0, 0]], [[0.3, 0, 0]]])
    return BakedGaussians(replace(frames, means=means), Timeline((0.0, 1.0), 1.0, False), Similarity.identity())


@pytest.fixture
def trajectory() -> Trajectory:
    cameras = fixed_path(3, azimuth_deg=0.0, elevation_deg=0.0, fovy_deg=40.0, distance=2.0, size=64)
    return Trajectory(cameras, TIMES)


def read_frames(path: Path) -> list[np.ndarray]:
    if path.suffix == ".gif":
        with Image.open(path) as animation:
            images = []
            for index in range(animation.n_frames):
                animation.seek(index)
                images.append(np.array(animation.convert("RGBA")))
            return images
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if path.suffix != ".webm":
            return [frame.to_ndarray(format="rgba") for frame in container.decode(stream)]
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # the only one that reads the alpha
        packets = list(container.demux(stream))
        return [frame.to_ndarray(format="rgba") for packet in packets for frame in decoder.decode(packet)]


def on_white(image: np.ndarray) -> np.ndarray:
    return image[..., :3] * (image[..., 3:] / 255) + 255 - image[..., 3:].astype(float)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_shows_the_images(
    tmp_path: Path, scene: BakedGaussians, trajectory: Trajectory, suffix: str
) -> None:
    path = tmp_path / f"video{suffix}"
    render_video(path, scene, CpuRenderer(), replace(trajectory, repeats=2), 10.0)
    images = read_frames(path)
    truth = list(render_rgb(scene, CpuRenderer(), trajectory.cameras, trajectory.times))
    assert len(images) == 6
    for image, expected in zip(images, truth * 2, strict=True):
        error = (on_white(image) - expected) / 255
        assert -10 * np.log10(np.mean(error**2)) > 30  # dB
    transparent = images[0][0, 0, 3] == 0
    assert transparent == (suffix == ".webm")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_background_is_behind_the_object(
    tmp_path: Path, scene: BakedGaussians, trajectory: Trajectory, suffix: str
) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None], (64, 64, 3)).transpose(1, 0, 2)
    path = tmp_path / f"video{suffix}"
    render_video(path, scene, CpuRenderer(), trajectory, 10.0, np.ascontiguousarray(ramp))
    straight = next(iter(render_rgba(scene, CpuRenderer(), trajectory.cameras, trajectory.times))).astype(float)
    expected = ramp + (straight[..., :3] - ramp) * straight[..., 3:] / 255
    image = read_frames(path)[0]
    assert image[..., 3].min() == 255
    assert np.abs(image[..., :3] - expected).mean() < 4


def test_images_of_a_trajectory_keep_their_alpha(scene: BakedGaussians, trajectory: Trajectory) -> None:
    truth = np.stack(list(render_rgba(scene, CpuRenderer(), trajectory.cameras, TIMES)))
    assert np.array_equal(np.stack(list(render_trajectory(scene, CpuRenderer(), trajectory))), truth)
    opaque = next(iter(render_trajectory(scene, CpuRenderer(), trajectory, np.zeros((64, 64, 3), np.uint8))))
    assert opaque[..., 3].min() == 255 and not opaque[0, 0, :3].any()


def test_unknown_endings_and_frame_rates_are_refused(
    tmp_path: Path, scene: BakedGaussians, trajectory: Trajectory
) -> None:
    with pytest.raises(ValueError, match=r"video.avi must end in \.mp4"):
        render_video(tmp_path / "video.avi", scene, CpuRenderer(), trajectory, 10.0)
    with pytest.raises(ValueError, match="fps"):
        render_video(tmp_path / "video.gif", scene, CpuRenderer(), trajectory, 60.0)
    assert not list(tmp_path.iterdir())


def test_cameras_may_change_over_time(scene: BakedGaussians, trajectory: Trajectory) -> None:
    other = fixed_path(1, azimuth_deg=90.0, elevation_deg=0.0, fovy_deg=40.0, distance=2.0, size=64)
    cameras = Cameras(torch.cat((trajectory.cameras.viewmats[:2], other.viewmats)), trajectory.cameras.Ks, 64, 64)
    last = list(render_trajectory(scene, CpuRenderer(), Trajectory(cameras, TIMES)))[-1]
    alone = next(iter(render_rgba(scene, CpuRenderer(), other, TIMES[2:])))
    assert np.array_equal(last, alone)
