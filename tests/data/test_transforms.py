import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ds4d.data import load_transforms
from ds4d.geometry import orbit_cameras, project_points
from ds4d.types import Cameras

Maker = Callable[..., Path]
Matrix = Callable[..., list[list[float]]]


@pytest.fixture
def frame(orbit_matrix: Matrix) -> Callable[..., dict[str, Any]]:
    """Makes one frame: (name, time, azimuth_deg, **keys)."""

    def make(name: str, time: float, azimuth_deg: float, **keys: Any) -> dict[str, Any]:
        return {"file_path": f"./{name}", "time": time, "transform_matrix": orbit_matrix(azimuth_deg, 10.0), **keys}

    return make


Frame = Callable[..., dict[str, Any]]


def _viewmat(azimuth_deg: float) -> Tensor:
    return orbit_cameras([azimuth_deg], [10.0], fovy_deg=90.0, distance=2.0, width=16, height=16).viewmats[0]


def test_frames_are_grouped_by_the_view_they_name(transforms_folder: Maker, frame: Frame) -> None:
    """The file's order is neither that of the times nor of the views."""
    frames = [frame(f"v{v}_{t}", t / 2, 40.0 * v, view=f"cam{v}") for t in (2, 0, 1) for v in (1, 0)]
    video = load_transforms(transforms_folder(frames), generated_weight=0.5)
    assert video.view_names == ("cam1", "cam0")  # the first to appear is view 0
    assert video.view_weights.tolist() == [1.0, 0.5]
    assert video.times.tolist() == [0.0, 0.5, 1.0]
    assert [[path.stem for path in row] for row in video.frames.paths] == [[f"v1_{t}", f"v0_{t}"] for t in range(3)]
    assert torch.allclose(video.cameras.viewmats[1], torch.stack((_viewmat(40.0), _viewmat(0.0))), atol=1e-6)
    assert video.cameras.is_static and video.cameras.viewmats.stride(0) == 0
    assert video.valid.all()


def test_views_may_miss_times(transforms_folder: Maker, frame: Frame) -> None:
    frames = [frame(f"a{t}", t / 4, 0.0, view="a") for t in range(5)]
    frames += [frame(f"b{t}", t / 4, azimuth, view="b") for t, azimuth in ((1, 50.0), (4, 70.0))]
    video = load_transforms(transforms_folder(frames))
    assert video.valid.tolist() == [[True, False], [True, True], [True, False], [True, False], [True, True]]
    for time, azimuth in enumerate((50.0, 50.0, 50.0, 70.0, 70.0)):  # the camera nearest in time stands in
        assert torch.allclose(video.cameras.viewmats[time, 1], _viewmat(azimuth), atol=1e-6)
    with pytest.raises(ValueError, match=r"view 1 .* time index 0"):
        video.frames.read(0, 1)


def test_one_moving_camera_is_one_view(transforms_folder: Maker, frame: Frame) -> None:
    """D-NeRF: every frame has its own time and pose, the last pose equal to the first."""
    azimuths = (0.0, 90.0, 180.0, 270.0, 360.0)
    video = load_transforms(transforms_folder([frame(f"r_{i}", i / 4, azimuth) for i, azimuth in enumerate(azimuths)]))
    assert (video.num_times, video.num_views, video.view_names) == (5, 1, ("train",))
    assert not video.cameras.is_static
    for time, azimuth in enumerate(azimuths):
        assert torch.allclose(video.cameras.viewmats[time, 0], _viewmat(azimuth), atol=1e-5)


def test_static_cameras_without_names_are_distinguished_by_pose(transforms_folder: Maker, frame: Frame) -> None:
    frames = [frame(f"c{c}_{t}", t / 3, 30.0 * c) for t in range(4) for c in range(3)]
    for index, entry in enumerate(frames):  # exported with a little noise
        entry["transform_matrix"][0][3] += 1e-6 * (index % 5)
    video = load_transforms(transforms_folder(frames))
    assert video.view_names == ("camera0", "camera1", "camera2")
    assert [[path.stem for path in row] for row in video.frames.paths] == [
        [f"c{c}_{t}" for c in range(3)] for t in range(4)
    ]
    assert video.cameras.is_static


def test_one_frame_of_many_cameras_without_names(transforms_folder: Maker, frame: Frame) -> None:
    video = load_transforms(transforms_folder([frame(f"c{c}", 0.0, 30.0 * c) for c in range(4)]))
    assert (video.num_times, video.num_views) == (1, 4)


def test_one_frame_of_one_view(transforms_folder: Maker, frame: Frame) -> None:
    video = load_transforms(transforms_folder([frame("only", 0.0, 0.0)]))
    assert (video.num_times, video.num_views, video.times.tolist()) == (1, 1, [0.0])


def test_moving_cameras_without_names_are_refused(transforms_folder: Maker, frame: Frame) -> None:
    frames = [frame(f"c{c}_{t}", t / 2, 30.0 * c + t) for t in range(3) for c in range(2)]
    with pytest.raises(ValueError, match="key view"):
        load_transforms(transforms_folder(frames))


def test_naming_only_some_views_is_refused(transforms_folder: Maker, frame: Frame) -> None:
    frames = [frame("a", 0.0, 0.0, view="a"), frame("b", 0.0, 30.0)]
    with pytest.raises(ValueError, match=r"key view, \./b has none"):
        load_transforms(transforms_folder(frames))


def test_two_images_of_one_view_and_time_are_refused(transforms_folder: Maker, frame: Frame) -> None:
    frames = [frame("a", 0.5, 0.0, view="cam"), frame("b", 0.5, 0.0, view="cam")]
    with pytest.raises(ValueError, match=r"b\.png and .*a\.png"):
        load_transforms(transforms_folder(frames))


def test_times_equal_up_to_rounding_are_one(transforms_folder: Maker, frame: Frame) -> None:
    transforms_folder([frame(f"f{i}", i / 23, 0.0, view="front") for i in range(24)], "front")
    folder = transforms_folder([frame(f"m{i}", round(i / 23, 5), 30.0, view="mv0") for i in range(24)], "mv")
    video = load_transforms(folder)
    assert video.num_times == 24 and video.valid.all()
    assert torch.allclose(video.times, torch.linspace(0, 1, 24), atol=1e-4)


def test_splits_follow_their_order_and_default_to_those_for_training(transforms_folder: Maker, frame: Frame) -> None:
    for split in ("mv", "test", "front"):
        folder = transforms_folder([frame(f"{split}_0", 0.0, 0.0, view=split)], split)
    assert load_transforms(folder).view_names == ("front", "mv")
    assert load_transforms(folder, splits=("test", "mv")).view_names == ("test", "mv")
    (folder / "transforms_mv.json").unlink()
    assert load_transforms(folder).view_names == ("front",)
    transforms_folder([frame("train_0", 0.0, 0.0)], "train")
    assert load_transforms(folder).view_names == ("train",)
    with pytest.raises(ValueError, match=r"transforms_val\.json"):
        load_transforms(folder, splits=("val",))


def test_held_out_splits_are_never_chosen(transforms_folder: Maker, frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"\['test'\]"):
        load_transforms(transforms_folder([frame("a", 0.0, 0.0)], "test"))


def test_images_are_resized_to_view_0(transforms_folder: Maker, frame: Frame, write_disc: Callable[..., None]) -> None:
    folder = transforms_folder([frame("a", 0.0, 0.0, view="a"), frame("b", 0.0, 30.0, view="b")])
    write_disc(folder / "a.png", 24, 24)
    for size, height in ((None, 24), (12, 12)):
        video = load_transforms(folder, size=size)
        assert video.frames.read(0, 0).shape == video.frames.read(0, 1).shape == (height, height, 4)
        half = height / 2  # 90 degrees
        expected = torch.tensor([[half, 0, half], [0, half, half], [0, 0, 1.0]])
        assert torch.allclose(video.cameras.Ks[0], expected.expand(2, 3, 3))


def test_intrinsics_follow_images_smaller_than_the_camera(
    transforms_folder: Maker, frame: Frame, write_disc: Callable[..., None]
) -> None:
    folder = transforms_folder([frame("a", 0.0, 0.0)], w=800, h=400, fl_x=1000.0, fl_y=800.0, cx=390.0, cy=220.0)
    write_disc(folder / "a.png", 80, 40)
    video = load_transforms(folder)
    assert (video.cameras.width, video.cameras.height) == (80, 40)
    assert torch.allclose(video.cameras.Ks[0, 0], torch.tensor([[100.0, 0, 39], [0, 80, 22], [0, 0, 1]]))


def _remove(folder: Path, _: Callable[..., None]) -> None:
    (folder / "a1.png").unlink()


def _truncate(folder: Path, _: Callable[..., None]) -> None:
    (folder / "a1.png").write_bytes((folder / "a1.png").read_bytes()[:10])


def _enlarge(folder: Path, write_disc: Callable[..., None]) -> None:
    write_disc(folder / "a1.png", 32, 32)


def _widen(folder: Path, write_disc: Callable[..., None]) -> None:
    write_disc(folder / "a1.png", 32, 16)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove, "a1.png must be a file, got nothing there"),
        (_truncate, "a1.png must be a whole image file"),
        (_enlarge, "a1.png must have the size of"),
        (_widen, "a1.png must have the aspect ratio of its camera"),
    ],
)
def test_damaged_images_are_named(
    transforms_folder: Maker,
    frame: Frame,
    write_disc: Callable[..., None],
    damage: Callable[[Path, Callable[..., None]], None],
    message: str,
) -> None:
    folder = transforms_folder([frame(f"a{t}", t / 2, 0.0) for t in range(3)], w=16, h=16)
    damage(folder, write_disc)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_transforms(folder)


def test_the_up_axis_is_recorded_and_cameras_are_unchanged(transforms_folder: Maker, frame: Frame) -> None:
    folder = transforms_folder([frame("a", 0.0, 40.0)])
    upright, blender = load_transforms(folder), load_transforms(folder, up="z")
    assert (upright.up, blender.up) == ("y", "z")
    assert torch.equal(upright.cameras.viewmats, blender.cameras.viewmats)


def _fraction_inside(points: Tensor, cameras: Cameras, alphas: Tensor) -> Tensor:
    """Share of points, per view, that fall on silhouettes grown by one pixel."""
    grown = torch.nn.functional.max_pool2d((alphas > 0).float(), 3, stride=1, padding=1)
    pixels, depths = project_points(points, cameras)
    assert (depths > 0).all()
    columns, rows = pixels.floor().long().clamp(0, cameras.width - 1).unbind(-1)
    return torch.stack(
        [silhouette[row, column].mean() for silhouette, row, column in zip(grown[:, 0], rows, columns, strict=True)]
    )


@pytest.mark.parametrize("name", ["barbarian-run", "carnotaurus-run-turn60", "mage-spellcast"])
def test_tracked_points_project_onto_the_masks(data_dir: Path, name: str) -> None:
    """Axes, signs, intrinsics, times and file order at once: any of them wrong moves points off the object."""
    folder = data_dir / "gltf" / name
    video = load_transforms(folder)
    assert (video.num_times, video.num_views) == (24, 7)
    assert video.view_names == ("front", "mv0", "mv1", "mv2", "mv3", "mv4", "mv5")
    assert video.valid.all() and video.cameras.is_static
    assert torch.allclose(video.times, torch.linspace(0, 1, 24), atol=1e-6)
    points = torch.from_numpy(np.load(folder / "points.npy").astype(np.float32))
    views = torch.arange(7)
    for time in (0, 11, 23):
        alphas = video.gather(torch.full_like(views, time), views).alphas
        cameras = video.cameras.at_time(time)
        assert _fraction_inside(points[time], cameras, alphas).min() > 0.995
        mirrored = points[time] * torch.tensor([-1.0, 1.0, 1.0])
        assert _fraction_inside(mirrored, cameras, alphas).min() < 0.97  # the test can fail


def test_cameras_of_a_real_file_have_its_angles(data_dir: Path) -> None:
    folder = data_dir / "gltf" / "barbarian-run"
    for split in ("front", "mv", "test"):
        video = load_transforms(folder, splits=(split,))
        rows = json.loads((folder / f"transforms_{split}.json").read_text())["frames"]
        angles = {row["view"]: (float(row["azimuth"]), float(row["elevation"])) for row in rows}
        azimuths, elevations = zip(*(angles[name] for name in video.view_names), strict=True)
        expected = orbit_cameras(azimuths, elevations, fovy_deg=33.9, distance=2.0, width=256, height=256)
        assert torch.allclose(video.cameras.viewmats[0], expected.viewmats, atol=1e-5)
        assert torch.allclose(video.cameras.Ks[0], expected.Ks, rtol=1e-5)
