"""Views are made once for the same input_video, settings and seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.geometry import orbit_cameras
from ds4d.io import read_cached, write_cached
from ds4d.multiview import find_views, generate_once
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.types import ArrayFrames, GeneratedViews, Video


class Counting(Inflate):
    """Says how often it was asked."""

    asked = 0

    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """See `Inflate`."""
        self.asked += 1
        return super().generate(video, seed=seed)


@pytest.fixture
def input_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Video:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path))
    images = np.zeros((2, 1, 24, 24, 4), np.uint8)
    images[:, :, 8:16, 6:18] = (200, 100, 50, 255)
    return Video(ArrayFrames(images), 6.0)


def made(config: InflateConfig | None = None) -> Counting:
    return Counting(config or InflateConfig(), torch.device("cpu"))


def test_cached_views_are_found_unchanged(input_video: Video) -> None:
    first, second = made(), made()
    fresh, kept = generate_once(first, input_video, seed=0), generate_once(second, input_video, seed=0)
    assert (first.asked, second.asked) == (1, 0)
    assert kept.video.view_names == fresh.video.view_names and kept.video.duration == fresh.video.duration
    assert torch.equal(kept.video.cameras.viewmats, fresh.video.cameras.viewmats)
    assert torch.equal(kept.video.cameras.Ks, fresh.video.cameras.Ks)
    for time in range(2):
        for view in range(7):
            np.testing.assert_array_equal(kept.video.frames.read(time, view), fresh.video.frames.read(time, view))
    assert kept.points is not None and fresh.points is not None
    assert torch.equal(kept.points.positions, fresh.points.positions)
    assert kept.depths is not None and fresh.depths is not None and torch.equal(kept.depths, fresh.depths)


def test_other_inputs_are_not_found(input_video: Video) -> None:
    generate_once(made(), input_video, seed=0)
    changed = np.stack([[input_video.frames.read(time, 0)] for time in range(2)])
    changed[1, 0, 10, 10, 0] -= 1
    camera = orbit_cameras([0.0], [10.0], fovy_deg=49.1, distance=2.0, width=24, height=24)
    for generator, video, seed in (
        (made(), input_video, 1),
        (made(InflateConfig(facing=60.0)), input_video, 0),
        (made(), replace(input_video, frames=ArrayFrames(changed)), 0),
        (made(), replace(input_video, camera=camera), 0),
        (made(), replace(input_video, fps=12.0), 0),
    ):
        generate_once(generator, video, seed=seed)
        assert generator.asked == 1


def _other_views(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "views": tensors["views"][:1].clone()}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {"x": torch.zeros(1)},
        _other_views,
        lambda tensors: {**tensors, "views": tensors["views"].float()},
        lambda tensors: {**tensors, "viewmats": torch.zeros(())},
        lambda tensors: {**tensors, "Ks": torch.zeros(7, 4, 4)},
        lambda tensors: {**tensors, "names": torch.full((5,), 255, dtype=torch.uint8)},
        lambda tensors: {**tensors, "names": torch.zeros(5)},
        lambda tensors: {**tensors, "colors": torch.zeros(1, 3)},
    ],
)
def test_other_tensors_under_the_same_name_are_made_again(tmp_path: Path, input_video: Video, change) -> None:
    generate_once(made(), input_video, seed=0)
    (path,) = (tmp_path / "views").iterdir()
    tensors = read_cached("views", path.stem)
    assert tensors is not None
    write_cached("views", path.stem, change(tensors))
    again = made()
    assert generate_once(again, input_video, seed=0).video.num_views == 7
    assert again.asked == 1


def test_only_generators_that_use_tracks_tell_videos_by_them(
    input_video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = replace(input_video, tracks=torch.rand(2, 4, 4, 2))
    generator = made()
    for video in (input_video, tracked):
        generate_once(generator, video, seed=0)
    assert generator.asked == 1
    monkeypatch.setattr(Counting, "uses_tracks", True)
    for video in (input_video, tracked, tracked):
        generate_once(generator, video, seed=0)
    assert generator.asked == 2
    assert find_views(generator, input_video, seed=0, is_tracked=True) is not None
