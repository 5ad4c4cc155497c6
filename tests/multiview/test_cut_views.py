"""Views that their own border cuts: made again with a wider field of view, or left out of the fit near the cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ds4d.core import Warned, notices_to
from ds4d.multiview.base import join_views, stag4d_cameras
from ds4d.multiview.cut_views import cut_frames, without_cuts
from ds4d.multiview.depth_pairs import DepthPair
from ds4d.multiview.shape_views import render_shapes
from ds4d.types import ArrayFrames, Cameras, GeneratedViews, Video

SIZE, FRAMES = 96, 3


@pytest.fixture
def video() -> Video:
    images = np.zeros((FRAMES, 1, SIZE, SIZE, 4), np.uint8)
    images[:, :, 20:76, 20:76] = 255
    return Video(ArrayFrames(images), 6.0)


def block(side: int, times: int) -> DepthPair:
    """A flat block whose front is a square of this many pixels."""
    inside = torch.zeros(times, SIZE, SIZE, dtype=torch.bool)
    first = (SIZE - side) // 2
    inside[:, first : first + side, first : first + side] = True
    depths, colors = torch.full((times, SIZE, SIZE), 2.0), torch.full((times, 3, SIZE, SIZE), 0.5)
    return DepthPair(depths - 0.1, depths + 0.1, inside, colors, colors)


@pytest.mark.parametrize(("side", "widened"), [(56, False), (84, True)])
def test_views_are_as_wide_as_the_object_needs(video: Video, side: int, widened: bool) -> None:
    cameras = stag4d_cameras(video)

    def shape(times: range) -> tuple[DepthPair, Cameras]:
        return block(side, len(times)), cameras[:1].expand_times(len(times))

    made = render_shapes(video, cameras, shape, torch.device("cpu"), work="testing").video
    assert not cut_frames(made).any()
    focal = made.cameras.Ks[0, :, 0, 0]
    assert focal[0] == cameras.Ks[0, 0, 0], "the input view stays as it is"
    assert bool((focal[1:] < 0.99 * cameras.Ks[1:, 0, 0]).any()) == widened
    covered = [(made.frames.read(0, view)[..., 3] > 128).mean() for view in range(1, 7)]
    assert min(covered) > 0.05


def views(video: Video, cut: bool) -> GeneratedViews:
    images = np.zeros((FRAMES, 6, SIZE, SIZE, 4), np.uint8)
    images[:, :, 24:72, 24:72] = 255
    if cut:
        images[1, 2, 40:56, 72:] = 255  # an arm that leaves view2 on the right, in one frame
    return GeneratedViews(join_views(video, images, stag4d_cameras(video), [f"view{i}" for i in range(6)]))


def test_pixels_near_a_cut_get_no_weight(video: Video) -> None:
    generated = views(video, cut=True)
    assert cut_frames(generated.video).nonzero().tolist() == [[1, 3]]
    confidence = torch.full((FRAMES, 7, 1, 16, 16), 0.5)
    generated = replace(generated, video=replace(generated.video, pixel_weights=confidence))
    with notices_to((notices := []).append):
        weights = without_cuts(generated).video.pixel_weights
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "views")]
    assert "view2" in notices[0].message and f"1 of {FRAMES}" in notices[0].message
    assert weights is not None
    size = weights.shape[-1]
    rows = slice(size * 40 // SIZE, size * 56 // SIZE)
    assert (weights[1, 3, 0, rows, -3:] == 0).all() and (weights[1, 3, 0, :, : size // 2] == 0.5).all()
    weights[1, 3] = 0.5
    assert (weights == 0.5).all(), "no other image is changed"


def test_views_that_are_whole_stay_as_they_are(video: Video) -> None:
    generated = views(video, cut=False)
    with notices_to((notices := []).append):
        assert without_cuts(generated) is generated
    assert notices == []
