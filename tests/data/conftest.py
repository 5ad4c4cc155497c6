"""Small folders of views, written for each test."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ds4d.geometry import opencv_to_opengl, orbit_cameras
from ds4d.io import write_png


def _write_disc(path: Path, width: int = 16, height: int = 16, *, alpha: int = 255, outside: int = 0) -> None:
    """An orange disc in the middle; under `outside` (the alpha around it) is gray, as generators leave it."""
    ys, xs = np.mgrid[:height, :width]
    inside = (xs + 0.5 - width / 2) ** 2 + (ys + 0.5 - height / 2) ** 2 < (0.3 * min(width, height)) ** 2
    rgba = np.where(inside[..., None], (200, 120, 40, alpha), (127, 127, 127, outside)).astype(np.uint8)
    write_png(path, rgba)


@pytest.fixture
def write_disc() -> Callable[..., None]:
    """Writes one image of a disc: (path, width, height, *, alpha, outside)."""
    return _write_disc


@pytest.fixture
def orbit_matrix() -> Callable[..., list[list[float]]]:
    """Makes a `transform_matrix`: (azimuth_deg, elevation_deg, distance)."""
    return _orbit_matrix


@pytest.fixture
def stag4d_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder in STAG4D's layout: larger input images, generated views with gray under alpha 1."""

    def make(numbers: tuple[int, ...] = (0, 1, 2), generated: int = 6) -> Path:
        for number in numbers:
            _write_disc(tmp_path / "ref" / f"{number}_rgba.png", 24, 24)
            for view in range(generated):
                _write_disc(tmp_path / "zero123" / f"{number}_rgba" / f"{view}.png", 16, 16, outside=1)
        return tmp_path

    return make


def _orbit_matrix(azimuth_deg: float, elevation_deg: float = 0.0, distance: float = 2.0) -> list[list[float]]:
    """Camera-to-world matrix, OpenGL axes, as a transforms file holds it."""
    cameras = orbit_cameras([azimuth_deg], [elevation_deg], fovy_deg=40.0, distance=distance, width=16, height=16)
    return opencv_to_opengl(cameras.viewmats[0].double()).tolist()


@pytest.fixture
def transforms_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes transforms_<split>.json with a field of view of 90 degrees, and its images."""

    def make(frames: list[dict[str, Any]], split: str = "train", *, images: bool = True, **top: Any) -> Path:
        content = {"camera_angle_x": math.pi / 2, **top, "frames": frames}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(content))
        for frame in frames if images else ():
            _write_disc(tmp_path / f"{frame['file_path']}.png")
        return tmp_path

    return make
