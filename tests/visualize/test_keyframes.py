import json

import pytest
import torch

from ds4d.visualize.keyframes import Keyframe, keyframe_path, read_keyframes

VIEW = dict(fovy_deg=40.0, distance=2.0, size=32)


def eyes(cameras) -> torch.Tensor:
    return torch.linalg.inv(cameras.viewmats)[:, 0, :3, 3]


def test_key_frames_are_met_and_what_is_left_out_is_kept(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(
        json.dumps([{"at": 0, "elevation": 0}, {"at": 2, "azimuth": 90, "zoom": 2}, {"at": 4, "elevation": 90}])
    )
    frames = read_keyframes(path)
    assert frames[2] == Keyframe(at=4.0, azimuth=90.0, elevation=90.0, zoom=2.0)
    cameras, times = keyframe_path(frames, torch.tensor([0.0, 2.0, 4.0, 9.0]), **VIEW)
    assert times is None
    expected = torch.tensor([[0, 0, 2.0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])  # the last one stays
    torch.testing.assert_close(eyes(cameras), expected, atol=1e-5, rtol=0)


def test_between_key_frames_the_way_is_smooth_and_never_beyond_them():
    frames = (Keyframe(0.0, time=0.0), Keyframe(1.0, azimuth=10.0, time=0.0), Keyframe(2.0, azimuth=400.0, time=1.0))
    seconds = torch.linspace(0, 2, 201)
    cameras, times = keyframe_path(frames, seconds, **VIEW)
    assert times is not None and times.min() >= 0 and times.max() <= 1
    assert (times.diff() >= 0).all()
    assert not times[:101].any()  # equal key frames: at rest
    steps = eyes(cameras).diff(dim=0).norm(dim=-1)
    assert (steps.diff().abs() < 0.1 * steps.max()).all()  # no jerks
    assert torch.allclose(eyes(cameras).norm(dim=-1), torch.full((201,), 2.0), atol=1e-4)


def test_one_key_frame_stands():
    cameras, times = keyframe_path(
        (Keyframe(0.0, azimuth=90.0, elevation=0.0, time=0.5),), torch.tensor([0.0, 3.0]), **VIEW
    )
    torch.testing.assert_close(eyes(cameras), torch.tensor([[2.0, 0, 0], [2, 0, 0]]), atol=1e-5, rtol=0)
    assert times is not None and times.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{,", "must be valid JSON"),
        ("[]", "must be a list of at least one object"),
        ('{"at": 0}', "must be a list of at least one object"),
        ('[{"azimuth": 0}]', r"\[0\] must have the key 'at'"),
        ('[{"at": 0, "azimut": 3}]', r"\[0\] must only hold the keys at, azimuth.*got 'azimut'"),
        ('[{"at": 0, "zoom": "near"}]', r"\[0\]: zoom must be a number, got 'near'"),
        ('[{"at": 0}, {"at": 1, "zoom": 0}]', r"\[1\]: Keyframe: zoom must lie in \(0, inf\)"),
        ('[{"at": 0, "time": 1.5}]', r"\[0\]: Keyframe: time must lie in \[0, 1\], got 1.5"),
        ('[{"at": 0}, {"at": 0}]', r"at must begin at 0 and rise, got \[0.0, 0.0\]"),
        ('[{"at": 1}]', "at must begin at 0"),
        ('[{"at": 0}, {"at": 1, "time": 1}]', r"\[0\] must give a time"),
    ],
)
def test_unfit_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"keys\.json.*{message}"):
        read_keyframes(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="got nothing there"):
        read_keyframes(tmp_path / "keys.json")
