import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ds4d.data import read_transforms
from ds4d.geometry import project_points
from ds4d.types import Cameras

Maker = Callable[..., Path]
Matrix = Callable[..., list[list[float]]]

# A camera at (0, 0, 2) that looks along -z with +y up: OpenGL axes without any turn.
FRONT = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]


def _frame(**keys: Any) -> dict[str, Any]:
    return {"file_path": "./train/r_0", "time": 0.5, "transform_matrix": FRONT, **keys}


def _project(frame: Any, point: tuple[float, float, float]) -> list[float]:
    cameras = Cameras(frame.viewmat[None], frame.K[None], frame.width, frame.height)
    pixels, depths = project_points(torch.tensor([point], dtype=torch.float32), cameras)
    return [*pixels[0, 0].tolist(), depths[0, 0].item()]


def test_opengl_matrices_become_opencv_cameras(transforms_folder: Maker) -> None:
    """90 degrees over 16 pixels: focal length 8; world up is image up, world right is image right."""
    (frame,) = read_transforms(transforms_folder([_frame()]) / "transforms_train.json")
    assert _project(frame, (0, 0, 0)) == pytest.approx([8, 8, 2])
    assert _project(frame, (0.5, 0, 0)) == pytest.approx([10, 8, 2])
    assert _project(frame, (0, 0.5, 0)) == pytest.approx([8, 6, 2])
    assert _project(frame, (0, 0, 1)) == pytest.approx([8, 8, 1])


def test_frames_have_the_values_of_the_file(transforms_folder: Maker, tmp_path: Path) -> None:
    frames = [_frame(view="left", frame=3), _frame(file_path="train/r_1", time=1)]
    read = read_transforms(transforms_folder(frames) / "transforms_train.json")
    assert [frame.file_path for frame in read] == ["./train/r_0", "train/r_1"]
    assert [frame.image for frame in read] == [tmp_path / "train" / "r_0.png", tmp_path / "train" / "r_1.png"]
    assert [(frame.view, frame.frame, frame.time) for frame in read] == [("left", 3, 0.5), (None, None, 1.0)]
    assert {(frame.width, frame.height) for frame in read} == {(16, 16)}  # from the images


def test_images_need_not_exist(transforms_folder: Maker) -> None:
    path = transforms_folder([_frame()], images=False, w=64, h=32) / "transforms_train.json"
    (frame,) = read_transforms(path)
    assert (frame.width, frame.height) == (64, 32) and not frame.image.exists()
    assert frame.K.tolist() == [[32, 0, 32], [0, 32, 16], [0, 0, 1]]  # square pixels from the horizontal angle


def test_without_image_and_size_the_size_must_be_given(transforms_folder: Maker) -> None:
    path = transforms_folder([_frame()], images=False) / "transforms_train.json"
    with pytest.raises(ValueError, match=r"frames\[0\] .* w and h"):
        read_transforms(path)
    assert read_transforms(path, size=(40, 20))[0].K[0, 2] == 20


def test_intrinsics_in_pixels(transforms_folder: Maker) -> None:
    frames = [_frame(), _frame(fl_y=40, cx=30.5, cy=20)]
    path = transforms_folder(frames, images=False, w=64, h=48, fl_x=50) / "transforms_train.json"
    first, second = read_transforms(path)
    assert first.K.tolist() == [[50, 0, 32], [0, 50, 24], [0, 0, 1]]
    assert second.K.tolist() == [[50, 0, 30.5], [0, 40, 20], [0, 0, 1]]  # a frame's own keys win


def test_images_are_found_by_image_key_or_suffix(
    transforms_folder: Maker, write_disc: Callable[..., None], tmp_path: Path
) -> None:
    write_disc(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.webp")
    frames = [_frame(file_path=name) for name in ("a.png", "b", "c", "d.0")] + [_frame(image="other/e.JPG")]
    path = transforms_folder(frames, images=False, w=16, h=16) / "transforms_train.json"
    names = [str(frame.image.relative_to(tmp_path)) for frame in read_transforms(path)]
    assert names == ["a.png", "b.webp", "c.png", "d.0.png", "other/e.JPG"]


@pytest.mark.parametrize(
    "name", ["../secret", "a/../../b", "/etc/passwd", "C:/windows", "..\\up", "\\\\host\\a", "", 3]
)
@pytest.mark.parametrize("key", ["file_path", "image"])
def test_paths_outside_the_folder_are_refused(transforms_folder: Maker, key: str, name: Any) -> None:
    path = transforms_folder([_frame(**{key: name})], images=False, w=16, h=16) / "transforms_train.json"
    with pytest.raises(ValueError, match=rf"transforms_train\.json: frames\[0\]\.{key} "):
        read_transforms(path)


def _scaled(factor: float) -> list[list[float]]:
    return [[factor * x for x in row[:3]] + row[3:] for row in FRONT[:3]] + [FRONT[3]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"time": None}, "time must be a finite number, got None"),
        ({"time": "0.5"}, "time must be a finite number, got '0.5'"),
        ({"time": math.nan}, "time must be a finite number"),
        ({"time": 24}, r"time must be in \[0, 1\], got 24.0. Divide seconds"),
        ({"transform_matrix": [[1, 2], [3]]}, "transform_matrix must be four rows of four numbers"),
        ({"transform_matrix": [["a"] * 4] * 4}, "transform_matrix must be four rows of four numbers"),
        ({"transform_matrix": FRONT[:3]}, r"transform_matrix must be 4 x 4, got \[3, 4\]"),
        ({"transform_matrix": [[math.nan] * 4, *FRONT[1:]]}, "transform_matrix must be finite"),
        ({"transform_matrix": [[-1, 0, 0, 0], *FRONT[1:]]}, "transform_matrix must be a rotation, got a reflection"),
        ({"transform_matrix": _scaled(1.1)}, "transform_matrix must be a rotation and a translation"),
        ({"transform_matrix": [[1, 0.1, 0, 0], *FRONT[1:]]}, "transform_matrix must be a rotation and a translation"),
        ({"transform_matrix": [*FRONT[:3], [0, 0, 1, 0]]}, "transform_matrix must be a rotation and a translation"),
        ({"camera_angle_x": 4.0}, "camera_angle_x must lie between 0 and pi"),
        ({"camera_angle_x": True}, "camera_angle_x must be a finite number"),
        ({"fl_x": -1}, "focal lengths must be above 0"),
        ({"k1": 0.1}, r"k1 must be 0, got 0\.1"),
        ({"w": 0}, "w and h must be at least 1, got 0 x 16"),
    ],
)
def test_wrong_values_are_refused_by_file_and_frame(transforms_folder: Maker, keys: dict, message: str) -> None:
    path = transforms_folder([_frame(), _frame(**keys)], images=False, w=16, h=16) / "transforms_train.json"
    with pytest.raises(ValueError, match=rf"transforms_train\.json: frames\[1\].*{message}"):
        read_transforms(path)


@pytest.mark.parametrize("key", ["file_path", "time", "transform_matrix"])
def test_missing_keys_are_named(transforms_folder: Maker, key: str) -> None:
    frame = _frame()
    del frame[key]
    path = transforms_folder([frame], images=False, w=16, h=16) / "transforms_train.json"
    with pytest.raises(ValueError, match=rf"frames\[0\] must have the key '{key}'"):
        read_transforms(path)


def test_missing_intrinsics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "transforms_train.json"
    path.write_text(json.dumps({"w": 16, "h": 16, "frames": [_frame()]}))
    with pytest.raises(ValueError, match=r"frames\[0\] must have camera_angle_x \(radians\) or fl_x"):
        read_transforms(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"frames": [', "must be valid JSON"),
        (b"\xff\xfe\x00", "must be valid JSON"),
        (b"[]", "must hold one JSON object with the key frames, got a list"),
        (b"{}", "frames must be a list with at least one frame"),
        (b'{"frames": []}', "frames must be a list with at least one frame"),
        (b'{"frames": {"a": 1}}', "frames must be a list with at least one frame"),
        (b'{"frames": [1]}', r"frames\[0\] must be an object with keys, got 1"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "transforms_train.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"transforms_train\.json:? {message}"):
        read_transforms(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"transforms_train\.json"):
        read_transforms(tmp_path / "transforms_train.json")


def test_rounded_rotations_are_accepted(transforms_folder: Maker, orbit_matrix: Matrix) -> None:
    matrix = [[round(x, 4) for x in row] for row in orbit_matrix(33.0, 20.0)]
    path = transforms_folder([_frame(transform_matrix=matrix)]) / "transforms_train.json"
    assert _project(read_transforms(path)[0], (0, 0, 0)) == pytest.approx([8, 8, 2], abs=1e-2)


@pytest.mark.parametrize(
    "keys", [{"w": 10**9}, {"w": 1e300, "h": 1}, {"frame": 10**15}, {"frame": -1}, {"transform_matrix": [[[[[0]]]]]}]
)
def test_absurd_numbers_are_refused_by_file_and_frame(transforms_folder: Maker, keys: dict) -> None:
    path = transforms_folder([_frame(), _frame(**keys)], images=False, w=16, h=16) / "transforms_train.json"
    with pytest.raises(ValueError, match=r"transforms_train\.json: frames\[1\]"):
        read_transforms(path)


@pytest.mark.parametrize("content", ["[" * 20_000, '{"frames": ' + "[" * 40 + "]" * 40 + "}", '{"frames": 1e400}'])
def test_hostile_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "transforms_train.json").write_text(content)
    with pytest.raises(ValueError, match=r"transforms_train\.json"):
        read_transforms(tmp_path / "transforms_train.json")
