"""Rigs are data: the built-in tables, and files that say what is wrong with them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from ds4d.geometry import (
    RIGS,
    load_rig,
    orbit_cameras,
    project_points,
    rig_cameras,
    rig_cameras_around,
    rig_from_cameras,
    write_rig,
)

FRONT = {"name": "front", "azimuth": 0, "elevation": 0, "fovy": 40, "distance": 2}


def write(path: Path, content: object) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("name", "elevations", "fovy", "distance"),
    [("stag4d", (30, -20), 49.1, 2.0), ("zero123plus-v1.2", (20, -10), 30.0, None)],
)
def test_built_in_rigs_are_the_published_tables(
    name: str, elevations: tuple[float, float], fovy: float, distance: float | None
) -> None:
    front, *novel = RIGS[name]
    assert (front.name, front.azimuth, front.elevation) == ("front", 0, 0)
    assert [view.azimuth for view in novel] == [30, 90, 150, 210, 270, 330]
    assert [view.elevation for view in novel] == [*elevations] * 3
    assert {view.fovy for view in RIGS[name]} == {fovy}
    assert len({view.name for view in RIGS[name]}) == 7
    if distance is not None:
        assert {view.distance for view in RIGS[name]} == {distance}


def test_built_in_rigs_load_by_name() -> None:
    assert load_rig("stag4d") is RIGS["stag4d"]


def test_a_written_rig_is_read_back(tmp_path: Path) -> None:
    path = write(tmp_path / "rig.json", [asdict(view) for view in RIGS["stag4d"]])
    assert load_rig(path) == RIGS["stag4d"]


def test_rig_cameras_are_those_of_the_rig() -> None:
    cameras = rig_cameras(RIGS["stag4d"], 64, 48)
    assert (cameras.num_views, cameras.width, cameras.height) == (7, 64, 48)
    assert torch.linalg.inv(cameras.viewmats)[1, 1, 3].item() == pytest.approx(1.0)  # 2 sin 30 above the ground
    third = orbit_cameras([90.0], [-20.0], fovy_deg=49.1, distance=2.0, width=64, height=48)
    assert torch.equal(cameras.viewmats[2:3], third.viewmats) and torch.equal(cameras.Ks[2:3], third.Ks)


@pytest.mark.parametrize("azimuth", [0.0, 130.0])
def test_a_rig_around_a_camera_has_its_azimuth_and_intrinsics(azimuth: float) -> None:
    front = orbit_cameras([azimuth], [15.0], fovy_deg=33.9, distance=3.0, width=64, height=48)
    cameras = rig_cameras_around(front, RIGS["stag4d"][1:])
    assert torch.equal(cameras.viewmats[0], front.viewmats[0]) and torch.equal(cameras.Ks[0], front.Ks[0])
    others = orbit_cameras(
        [azimuth + 30 + 60 * i for i in range(6)], [30.0, -20.0] * 3, fovy_deg=33.9, distance=3.0, width=64, height=48
    )
    torch.testing.assert_close(cameras.viewmats[1:], others.viewmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.Ks[1:], others.Ks)


def test_a_rig_around_a_camera_that_looks_past_the_origin() -> None:
    front = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=32, height=32, target=(0.2, 0.1, 0.0))
    others = rig_cameras_around(front, RIGS["stag4d"][1:])
    pixels, depths = project_points(torch.tensor([[0.2, 0.1, 0.0]]), others)
    torch.testing.assert_close(pixels[:, 0], torch.full((7, 2), 16.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(depths[:, 0], torch.full((7,), 2.0))


def test_a_camera_that_looks_away_from_the_origin_is_refused() -> None:
    away = orbit_cameras([180.0], [0.0], fovy_deg=40.0, distance=2.0, width=32, height=32, target=(0.0, 0.0, 4.0))
    with pytest.raises(ValueError, match="origin"):
        rig_cameras_around(away, RIGS["stag4d"][1:])


@pytest.mark.parametrize("name", RIGS)
def test_rigs_are_recovered_from_their_cameras_and_files(name: str, tmp_path: Path) -> None:
    names = [view.name for view in RIGS[name]]
    found = rig_from_cameras(rig_cameras(RIGS[name], 48, 64), names)
    write_rig(tmp_path / "rig.json", found)
    read = load_rig(str(tmp_path / "rig.json"))
    assert read == found
    for view, want in zip(read, RIGS[name], strict=True):
        assert view.name == want.name
        for key in ("azimuth", "elevation", "fovy", "distance"):
            assert getattr(view, key) == pytest.approx(getattr(want, key), abs=1e-3)


def test_cameras_with_roll_are_no_rig() -> None:
    cameras = rig_cameras(RIGS["stag4d"][:1], 32, 32)
    roll = torch.tensor([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])
    with pytest.raises(ValueError, match="roll"):
        rig_from_cameras(replace(cameras, viewmats=roll @ cameras.viewmats), ["front"])


def test_an_unknown_rig_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"stag4d, zero123plus-v1\.2.*'stag5d'"):
        load_rig("stag5d")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "JSON"),
        ({"views": [FRONT]}, "list"),
        ([], "non-empty"),
        ([3], "list of views"),
        ([{**FRONT, "roll": 1}], "roll"),
        ([{"name": "front"}], "exactly the keys"),
        ([{**FRONT, "azimuth": "left"}], "left"),
        ([{**FRONT, "fovy": None}], "list of views"),
        ([{**FRONT, "fovy": 0}], "fovy"),
        ([{**FRONT, "fovy": 180}], "fovy"),
        ([{**FRONT, "distance": -2}], "distance"),
        ([{**FRONT, "distance": float("inf")}], "distance"),
        ([{**FRONT, "elevation": 91}], "elevation"),
        ([{**FRONT, "azimuth": float("nan")}], "azimuth"),
    ],
)
def test_errors_name_the_rig_file_and_the_key(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "broken_rig.json", content)
    with pytest.raises(ValueError, match=rf"broken_rig\.json.*{message}"):
        load_rig(path)
