"""Headers of PLY files are compared with the file before anything is allocated."""

from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from ds4d.io import check_ply, read_ply_file

POINT = "property float x\nproperty float y\nproperty float z\n"


def ply(path: Path, elements: str, content: bytes = b"\0" * 36, kind: str = "binary_little_endian") -> Path:
    path.write_bytes(f"ply\nformat {kind} 1.0\n{elements}end_header\n".encode() + content)
    return path


@pytest.mark.parametrize("text", [True, False])
def test_whole_files_are_read(tmp_path: Path, text: bool) -> None:
    rows = np.zeros(3, [("x", "f4"), ("y", "u1")])
    rows["x"] = 0.5, 1.5, 2.5
    PlyData([PlyElement.describe(rows, "vertex")], text=text).write(str(tmp_path / "a.ply"))
    assert read_ply_file(tmp_path / "a.ply")["vertex"]["x"].tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(
    "elements",
    [
        f"element vertex 1000000000000\n{POINT}",
        f"element vertex 99999999999999999999999\n{POINT}",
        f"element vertex -1\n{POINT}",
        f"element vertex many\n{POINT}",
        "element nothing 1000000000000\n",
        f"element vertex 1\n{POINT}element face 1000000000\nproperty list uchar int vertex_indices\n",
    ],
)
def test_counts_beyond_the_file_are_refused(tmp_path: Path, elements: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"a\.ply"):
        check_ply(ply(tmp_path / "a.ply", elements, kind=kind))


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_bytes(b"ply\n" + b"comment\n" * 100_000)
    with pytest.raises(ValueError, match=r"a\.ply"):
        check_ply(tmp_path / "a.ply")


def test_lists_are_for_meshes_alone(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", "element face 2\nproperty list uint int vertex_indices\n", b"\xff" * 40)
    check_ply(path)
    with pytest.raises(ValueError, match="vertex_indices"):
        read_ply_file(path)
