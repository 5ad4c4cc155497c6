"""The nouns refuse what does not fit, and name the field; what they offer keeps its promises.

While tests run, annotations are checked before a noun's own checks are reached. The tests of the latter therefore make
nouns as users do, without the import hook (`changed`).
"""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ds4d.geometry import frame_times, orbit_cameras, project_points
from ds4d.types import Cameras, FrameBatch, MultiViewVideo, RawGaussians, Rendering, Similarity


class NumberedFrames:
    """Frames whose red says the time, whose green says the view, half covered."""

    num_times, num_views, width, height = 3, 2, 8, 4

    def read(self, time: int, view: int) -> np.ndarray:
        return np.broadcast_to(np.array([time, view, 0, 128], dtype=np.uint8), (self.height, self.width, 4)).copy()


def cameras(times: int = 3, views: int = 2) -> Cameras:
    Ks = torch.tensor([[10.0, 0, 4], [0, 10, 2], [0, 0, 1]])
    return Cameras(torch.eye(4).expand(times, views, 4, 4), Ks.expand(times, views, 3, 3), 8, 4)


def video() -> MultiViewVideo:
    return MultiViewVideo(
        frames=NumberedFrames(),
        cameras=cameras(),
        valid=torch.ones(3, 2, dtype=torch.bool),
        times=frame_times(3),
        view_names=("front", "back"),
        view_weights=torch.ones(2),
    )


def changed(noun: Any, **fields: Any) -> Any:
    """`dataclasses.replace` as it runs outside tests: the noun's own checks alone."""
    made = object.__new__(type(noun))
    for name, value in {**vars(noun), **fields}.items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"viewmats": torch.eye(4)}, "Cameras: viewmats"),
        ({"viewmats": torch.zeros(2, 4, 4, dtype=torch.int64)}, "Cameras: viewmats"),
        ({"Ks": torch.ones(3, 2, 4, 4)}, "Cameras: Ks"),
        ({"Ks": torch.ones(2, 3, 3)}, "Cameras: Ks .*viewmats"),
        ({"width": 0}, "Cameras: width"),
        ({"height": -1}, "Cameras: width and height"),
    ],
)
def test_cameras_name_the_wrong_field(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(cameras(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"rotation": torch.eye(4)}, "rotation"),
        ({"translation": torch.zeros(2)}, "translation"),
    ],
)
def test_similarity_names_the_wrong_field(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"Similarity: {message}"):
        changed(Similarity.identity(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": cameras(times=2)}, "cameras.viewmats"),
        ({"cameras": cameras(views=1)}, "cameras.viewmats"),
        ({"valid": torch.ones(2, 3, dtype=torch.bool)}, "valid"),
        ({"times": frame_times(4)}, "times"),
        ({"times": torch.tensor([0.0, 0.5, 1.5])}, "times"),
        ({"times": torch.tensor([0.0, 0.5, 0.5])}, "times"),
        ({"times": torch.tensor([0.0, float("nan"), 1.0])}, "times"),
        ({"times": torch.tensor([0.0, 1.0, 0.5])}, "times"),
        ({"view_names": ("front",)}, "view_names"),
        ({"view_weights": torch.ones(3)}, "view_weights"),
    ],
)
def test_multi_view_video_names_the_wrong_field(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"MultiViewVideo: {re.escape(message)}"):
        changed(video(), **change)


def test_a_video_without_frames_is_refused() -> None:
    frames = NumberedFrames()
    frames.num_times = 0
    empty = {"valid": torch.ones(0, 2, dtype=torch.bool), "times": torch.zeros(0), "cameras": cameras(times=0)}
    with pytest.raises(ValueError, match="MultiViewVideo: frames"):
        changed(video(), frames=frames, **empty)


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize(
    ("raw_name", "name", "shape"),
    [
        ("means", "means", (12, 2)),
        ("quats", "quats", (12, 3)),
        ("quats", "quats", (11, 4)),
        ("log_scales", "scales", (12, 1)),
        ("opacity_logits", "opacities", (12, 1)),
        ("sh", "sh", (11, 1, 3)),
        ("sh", "sh", (5, 12, 1, 3)),
    ],
)
def test_gaussians_name_the_wrong_field(
    tiny_gaussians: RawGaussians, raw_name: str, name: str, shape: tuple[int, ...], activated: bool
) -> None:
    gaussians = tiny_gaussians.activate() if activated else tiny_gaussians
    field = name if activated else raw_name
    with pytest.raises(ValueError, match=f"{type(gaussians).__name__}: {field} "):
        changed(gaussians, **{field: torch.zeros(shape)})


@pytest.mark.parametrize("field", ["colors", "alphas", "depths"])
def test_rendering_names_the_wrong_field(field: str) -> None:
    rendering = Rendering(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=f"Rendering: {field}"):
        changed(rendering, **{field: torch.zeros(1, 2, 4, 4)})


@pytest.mark.parametrize("field", ["images", "alphas"])
def test_frame_batch_names_the_wrong_field(field: str) -> None:
    batch = FrameBatch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=f"FrameBatch: {field}"):
        changed(batch, **{field: torch.zeros(1, 2, 4, 4)})


def test_cameras_know_whether_they_are_static() -> None:
    moving = cameras().viewmats.clone()
    moving[1, 0, 0, 3] = 0.1
    zooming = cameras().Ks.clone()
    zooming[2, 1, 0, 0] = 11.0
    assert cameras().is_static
    assert cameras().at_time(0).is_static
    assert not replace(cameras(), viewmats=moving).is_static
    assert not replace(cameras(), Ks=zooming).is_static


def numbered_cameras() -> Cameras:
    """Three times, two views: every entry of a viewmat is 2 time + view, and of an intrinsic matrix 10 more."""
    numbers = torch.arange(6.0).reshape(3, 2, 1, 1)
    return Cameras(numbers.expand(3, 2, 4, 4), 10 + numbers.expand(3, 2, 3, 3), 8, 4)


def test_select_takes_one_camera_per_pair() -> None:
    chosen = numbered_cameras().select(torch.tensor([2, 0]), torch.tensor([1, 0]))
    assert chosen.viewmats.shape == (2, 1, 4, 4)
    assert chosen.viewmats[:, 0, 0, 0].tolist() == [5.0, 0.0]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0.0, 1]),
        (slice(1, 3), [[2.0, 3], [4, 5]]),
        (torch.tensor([2, 0]), [[4.0, 5], [0, 1]]),
        ((slice(None), slice(1, 2)), [[1.0], [3], [5]]),
        ((..., slice(1)), [[0.0], [2], [4]]),
        ((1, [1, 0]), [3.0, 2]),
        ((torch.tensor([[0], [2]]), torch.tensor([[1, 1], [0, 1]])), [[1.0, 1], [4, 5]]),
        (None, [[[0.0, 1], [2, 3], [4, 5]]]),
    ],
)
def test_cameras_are_indexed_along_their_leading_axes(index: object, expected: list) -> None:
    chosen = numbered_cameras()[index]
    assert chosen.viewmats[..., 0, 0].tolist() == expected
    assert torch.equal(chosen.Ks[..., 0, 0], chosen.viewmats[..., 0, 0] + 10)
    assert (chosen.width, chosen.height) == (8, 4)


@pytest.mark.parametrize("index", [0, (2, 1)])
def test_an_index_leaves_an_axis_of_views(index: object) -> None:
    numbered = numbered_cameras()
    with pytest.raises(ValueError, match="slice"):
        (numbered if isinstance(index, tuple) else numbered.at_time(0))[index]


def test_cameras_of_one_time() -> None:
    moving = numbered_cameras()
    assert moving.at_time(2).viewmats[:, 0, 0].tolist() == [4.0, 5.0]
    still = moving.at_time(1)
    assert still.at_time(2) is still


def test_expand_times_repeats_cameras_without_copying() -> None:
    still = numbered_cameras().at_time(1)
    repeated = still.expand_times(5)
    assert repeated.viewmats.shape == (5, 2, 4, 4) and repeated.Ks.shape == (5, 2, 3, 3)
    assert repeated.is_static and torch.equal(repeated[3].Ks, still.Ks)
    assert repeated.viewmats.data_ptr() == still.viewmats.data_ptr()


def test_centers_are_the_positions_of_the_cameras() -> None:
    cameras = orbit_cameras([0.0, 90.0, 180.0], [0.0, 0.0, 30.0], fovy_deg=40.0, distance=2.0, width=8, height=8)
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 1, -(3**0.5)]])
    torch.testing.assert_close(cameras.centers, expected, atol=1e-6, rtol=0)
    moving = cameras[:, None]
    assert moving.centers.shape == (3, 1, 3)
    in_camera = moving.viewmats[..., :3, :3] @ moving.centers[..., None] + moving.viewmats[..., :3, 3:]
    torch.testing.assert_close(in_camera, torch.zeros_like(in_camera), atol=1e-6, rtol=0)


def test_resized_cameras_see_points_at_the_same_fraction_of_the_image(tiny_cameras: Cameras) -> None:
    points = torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.0, 0.1]])
    larger = tiny_cameras.resized(100, 96)
    fraction, _ = project_points(points, tiny_cameras)
    fraction_larger, _ = project_points(points, larger)
    torch.testing.assert_close(fraction_larger / torch.tensor([100, 96]), fraction / torch.tensor([40, 32]))
    assert (larger.width, larger.height) == (100, 96)


def test_gather_reads_the_requested_pairs() -> None:
    batch = video().gather(torch.tensor([2, 0]), torch.tensor([0, 1]))
    assert batch.images.shape == (2, 3, 4, 8)
    assert (255 * batch.images[:, :2, 0, 0]).round().tolist() == [[2, 0], [0, 1]]
    torch.testing.assert_close(batch.alphas, torch.full((2, 1, 4, 8), 128 / 255))


def test_the_middle_of_an_even_number_of_frames_is_the_later_one() -> None:
    assert video().middle == 1
    frames = NumberedFrames()
    frames.num_times = 4
    four = replace(video(), frames=frames, cameras=cameras(times=4), valid=torch.ones(4, 2) > 0, times=frame_times(4))
    assert four.middle == 2


def test_composite_shows_the_background_where_nothing_covers() -> None:
    images = torch.tensor([0.5, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    batch = FrameBatch(images * torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]).reshape(1, 1, 1, 2))
    over = batch.composite(torch.tensor([[0.2, 0.4, 0.6]]))
    torch.testing.assert_close(over[0, :, 0, 0], torch.tensor([0.6, 0.2, 0.3]))
    torch.testing.assert_close(over[0, :, 0, 1], torch.tensor([0.2, 0.4, 0.6]))


def test_activate_gives_unit_quats_positive_scales_and_opacities(tiny_gaussians: RawGaussians) -> None:
    gaussians = replace(tiny_gaussians, quats=3 * tiny_gaussians.quats).activate()
    torch.testing.assert_close(gaussians.quats, tiny_gaussians.quats)
    torch.testing.assert_close(gaussians.scales.log(), tiny_gaussians.log_scales)
    torch.testing.assert_close(gaussians.opacities.logit(), tiny_gaussians.opacity_logits)
    assert gaussians.num_gaussians == tiny_gaussians.num_gaussians == 12


def test_at_time_picks_one_time_and_keeps_shared_colors(tiny_gaussians: RawGaussians) -> None:
    names = ("means", "quats", "log_scales", "opacity_logits")
    stacked = {name: torch.stack((getattr(tiny_gaussians, name), getattr(tiny_gaussians, name) + 1)) for name in names}
    moving = RawGaussians(**stacked, sh=tiny_gaussians.sh)
    torch.testing.assert_close(moving.at_time(1).means, tiny_gaussians.means + 1)
    assert moving.at_time(1).sh is tiny_gaussians.sh
    changing = replace(moving, sh=torch.stack((tiny_gaussians.sh, -tiny_gaussians.sh)))
    torch.testing.assert_close(changing.at_time(1).sh, -tiny_gaussians.sh)


def test_to_converts_every_field(tiny_gaussians: RawGaussians, tiny_cameras: Cameras) -> None:
    for gaussians in (tiny_gaussians, tiny_gaussians.activate()):
        converted = gaussians.to(torch.float64)
        assert {getattr(converted, name).dtype for name in converted.__dataclass_fields__} == {torch.float64}
    assert {tiny_cameras.to(torch.float64).viewmats.dtype, tiny_cameras.to(torch.float64).Ks.dtype} == {torch.float64}


def test_a_part_of_a_video_is_a_video_whose_times_run_from_0_to_1(quick_video: MultiViewVideo) -> None:
    weights = torch.rand(6, quick_video.num_views, 1, 2, 2)
    whole = replace(quick_video, pixel_weights=weights, times=torch.tensor([0.0, 0.1, 0.2, 0.4, 0.8, 1.0]))
    part = whole.part(range(2, 5))
    assert (part.num_times, part.num_views, part.loops) == (3, whole.num_views, False)
    torch.testing.assert_close(part.times, torch.tensor([0.0, 1 / 3, 1.0]))
    assert part.duration == pytest.approx(0.6 * whole.duration)
    assert np.array_equal(part.frames.read(1, 3), whole.frames.read(3, 3))
    assert part.pixel_weights is not None and torch.equal(part.pixel_weights, weights[2:5])
