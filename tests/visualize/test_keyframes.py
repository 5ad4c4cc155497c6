"""Key frames: values at, between and beyond them, and files that are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.visualize.keyframes import Keyframe, keyframe_path, read_keyframes

VIEW = dict(fovy_deg=40.0, distance=2.0, size=32)


def centers(cameras) -> torch.Tensor:
    return cameras.centers[:, 0]


def test_key_frames_are_met_and_missing_values_kept(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(
        json.dumps([{"at": 0, "elevation": 0}, {"at": 2, "azimuth": 90, "zoom": 2}, {"at": 4, "elevation": 90}])
    )
    frames = read_keyframes(path)
    assert frames[2] == Keyframe(at=4.0, azimuth=90.0, elevation=90.0, zoom=2.0)
    cameras, times = keyframe_path(frames, torch.tensor([0.0, 2.0, 4.0, 9.0]), **VIEW)
    assert times is None
    expected = torch.tensor([[0, 0, 2.0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])  # the last one is held
    torch.testing.assert_close(centers(cameras), expected, atol=1e-5, rtol=0)


def test_missing_times_start_at_0(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"at": 0}, {"at": 1}, {"at": 2, "time": 1}, {"at": 3}]))
    assert [frame.time for frame in read_keyframes(path)] == [0, 0, 1, 1]


def test_example_of_the_documentation_is_valid(tmp_path):
    page = Path(__file__).resolve().parents[2] / "docs" / "exports.md"
    (tmp_path / "path.json").write_text(page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0])
    assert [frame.time for frame in read_keyframes(tmp_path / "path.json")] == [0, 0, 1]


def test_paths_are_smooth_and_do_not_overshoot():
    frames = (Keyframe(0.0, time=0.0), Keyframe(1.0, azimuth=10.0, time=0.0), Keyframe(2.0, azimuth=400.0, time=1.0))
    cameras, times = keyframe_path(frames, torch.linspace(0, 2, 201), **VIEW)
    assert times is not None and times.min() >= 0 and times.max() <= 1
    assert (times.diff() >= 0).all()
    assert not times[:101].any()  # at rest between equal values
    steps = centers(cameras).diff(dim=0).norm(dim=-1)
    assert (steps.diff().abs() < 0.1 * steps.max()).all()  # no jumps in speed
    assert max(steps[0], steps[-1]) < 0.1 * steps.max()  # at rest at both ends
    assert torch.allclose(centers(cameras).norm(dim=-1), torch.full((201,), 2.0), atol=1e-4)


def test_equal_steps_in_equal_time_are_straight_in_the_middle():
    frames = tuple(replace(Keyframe(0.0), at=float(i), time=i / 4) for i in range(5))
    _, times = keyframe_path(frames, torch.tensor([1.5, 2.25]), **VIEW)
    torch.testing.assert_close(times, torch.tensor([1.5 / 4, 2.25 / 4]), atol=1e-6, rtol=0)


def test_a_single_key_frame_is_held():
    cameras, times = keyframe_path(
        (Keyframe(0.0, azimuth=90.0, elevation=0.0, time=0.5),), torch.tensor([0.0, 3.0]), **VIEW
    )
    torch.testing.assert_close(centers(cameras), torch.tensor([[2.0, 0, 0], [2, 0, 0]]), atol=1e-5, rtol=0)
    assert times is not None and times.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{,", "JSON"),
        ("[]", "list"),
        ('{"at": 0}', "list"),
        ('[{"azimuth": 0}]', r"\[0\] .*'at'"),
        ('[{"at": 0, "azimut": 3}]', r"\[0\] .*'azimut'"),
        ('[{"at": 0, "zoom": "near"}]', r"\[0\]: zoom"),
        ('[{"at": 0}, {"at": 1, "zoom": 0}]', r"\[1\]: .*zoom"),
        ('[{"at": 0, "time": 1.5}]', r"\[0\]: .*time"),
        ('[{"at": 0}, {"at": 0}]', r"at must .* got \[0.0, 0.0\]"),
        ('[{"at": 1}]', "at must start at 0"),
    ],
)
def test_invalid_files_are_refused(tmp_path, content, message):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"keys\.json.*{message}"):
        read_keyframes(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"keys\.json"):
        read_keyframes(tmp_path / "keys.json")
