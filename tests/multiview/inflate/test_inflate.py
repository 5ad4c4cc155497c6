"""Inflated masks: position, tilt, and views from other sides."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import orbit_cameras
from ds4d.multiview.inflate import Inflate, InflateConfig, inflate
from ds4d.types import ArrayFrames, Video

CAMERA = orbit_cameras([0.0], [0.0], fovy_deg=49.1, distance=2.0, width=64, height=64)
PIXEL = 2 * 0.9136 / 64  # world units at the origin


def image(left: int = 20, right: int = 44) -> Tensor:
    """A box, red on its left half and green on its right one."""
    rgba = torch.zeros(1, 4, 64, 64)
    rgba[:, 3, 24:40, left:right] = 1
    rgba[:, 0, 24:40, left : (left + right) // 2] = 1
    rgba[:, 1, 24:40, (left + right) // 2 : right] = 1
    return rgba


def video(rgba: Tensor, frames: int = 1) -> Video:
    images = (rgba.movedim(1, -1) * 255).byte().numpy()[:, None].repeat(frames, 0)
    return Video(ArrayFrames(images), 6.0)


def test_depth_and_thickness_of_the_shape() -> None:
    pair = inflate(image(), CAMERA, InflateConfig(thickness=1.0))
    middle = 0.5 * (pair.front + pair.back)[pair.inside]
    torch.testing.assert_close(middle, torch.full_like(middle, 2.0))
    assert (pair.back - pair.front)[0, 31, 31] == pytest.approx(15 * PIXEL, rel=0.05)
    thick = inflate(image(), CAMERA, InflateConfig(thickness=1.5))
    torch.testing.assert_close((thick.back - thick.front), 1.5 * (pair.back - pair.front))


@pytest.mark.parametrize(("facing", "slope"), [(60.0, 1 / 3**0.5), (120.0, -1 / 3**0.5), (-60.0, -1 / 3**0.5)])
def test_facing_tilts_the_shape(facing: float, slope: float) -> None:
    pair = inflate(image(), CAMERA, InflateConfig(facing=facing))
    middle = 0.5 * (pair.front + pair.back)[0, 31]
    assert middle[43] - middle[20] == pytest.approx(-slope * 23 * PIXEL, rel=1e-3)
    assert middle[31:33].mean() == pytest.approx(2.0, abs=PIXEL)


@pytest.mark.parametrize("facing", [0.0, 19.9, -170.0, 180.0, float("nan")])
def test_facing_the_camera_is_refused(facing: float) -> None:
    with pytest.raises(ValueError, match="facing"):
        InflateConfig(facing=facing)


def test_90_and_minus_90_are_the_default() -> None:
    rgba = image()
    for facing in (90.0, -90.0):
        pair = inflate(rgba, CAMERA, InflateConfig(facing=facing))
        torch.testing.assert_close(pair.front, inflate(rgba, CAMERA, InflateConfig()).front)


def test_side_views_show_the_sides() -> None:
    """At azimuth 90 the right end, which is green, is visible; at 270 the red one. Views 1 and 4 of the rig."""
    clip = Inflate(InflateConfig(), torch.device("cpu")).generate(video(image()), seed=0).video
    for view, strong, weak in ((2, 1, 0), (5, 0, 1)):
        rgba = clip.frames.read(0, view).astype(int)
        assert clip.view_names[view] == f"view{view - 1}"
        assert rgba[..., strong].sum() > 3 * rgba[..., weak].sum()


def test_depths_are_those_of_what_the_video_shows() -> None:
    generated = Inflate(InflateConfig(facing=60.0), torch.device("cpu")).generate(video(image(), 9), seed=0)
    depths = generated.depths
    assert depths is not None and len(depths) == 9 and torch.equal(depths[0], depths[8])
    found = F.interpolate(depths[:1, None], (64, 64), mode="nearest")[0, 0]
    front = inflate(image(), CAMERA, InflateConfig(facing=60.0)).front[0]
    assert (found[26:38, 22:42] - front[26:38, 22:42]).abs().max() < PIXEL
    assert not found[:22].any() and not found[:, 46:].any()


def test_back_views_mirror_the_input_view() -> None:
    wide, camera = image(10, 40), orbit_cameras([0.0], [0.0], fovy_deg=49.1, distance=2.0, width=64, height=64)
    clip = Inflate(InflateConfig(), torch.device("cpu")).generate(replace(video(wide), camera=camera), seed=0).video
    columns = [np.average(np.arange(64), weights=clip.frames.read(0, view)[..., 3].sum(0)) for view in (0, 3, 4)]
    assert columns[0] < 28 and columns[1] > 34 and columns[2] > 34  # azimuth 0, 150 and 210


def test_the_shape_is_closed_and_opaque() -> None:
    """The mask is filled in all views, and a black front with a white boundary does not shine through to the back."""
    rgba = torch.zeros(1, 4, 64, 64)
    rgba[:, :, 16:48, 16:48] = 1
    rgba[:, :3, 20:44, 20:44] = 0
    clip = Inflate(InflateConfig(), torch.device("cpu")).generate(video(rgba), seed=0).video
    for view in range(1, 7):
        alpha = clip.frames.read(0, view)[..., 3]
        row = alpha[int(np.nonzero(alpha > 127)[0].mean())]
        columns = np.nonzero(row > 127)[0]
        assert (row[columns[0] + 2 : columns[-1] - 1] > 245).all()
    for view in (3, 4):
        assert clip.frames.read(0, view)[26:38, 26:38, :3].min() > 220


def test_frames_do_not_depend_on_their_batch() -> None:
    clip = Inflate(InflateConfig(), torch.device("cpu")).generate(video(image(), 11), seed=0).video
    for view in range(1, 7):
        np.testing.assert_array_equal(clip.frames.read(0, view), clip.frames.read(10, view))


def test_identity_depends_on_the_settings() -> None:
    cpu = torch.device("cpu")
    identities = {Inflate(InflateConfig(facing=facing), cpu).identity for facing in (60.0, 61.0, 90.0)}
    assert len(identities) == 3 and all(json.loads(identity)["name"] == "inflate" for identity in identities)


@pytest.mark.gpu
def test_views_rendered_on_a_gpu_equal_those_of_the_cpu() -> None:
    images, points = [], []
    for device in ("cpu", "cuda"):
        made = Inflate(InflateConfig(), torch.device(device)).generate(video(image(), frames=2), seed=0)
        assert made.points is not None
        images.append(np.stack([made.video.frames.read(time, view) for time in range(2) for view in range(7)]))
        points.append(made.points.positions)
    assert np.abs(images[0].astype(int) - images[1]).max() <= 2  # of 255
    assert torch.equal(*points)
