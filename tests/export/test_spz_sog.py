"""Compact files of single frames, read again by what wrote them and, for the positions, by the published layouts."""

import gzip
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.export import export_scene, read_sog, read_spz, write_sog, write_spz
from ds4d.geometry import quats_to_matrices
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

pytest.importorskip("gaussforge", reason="needs the extra `spz`")


def spz_positions(path: Path) -> np.ndarray:
    """Positions by the layout of version 3: 24 bits of fixed point each, after a header of 16 bytes."""
    content = gzip.decompress(path.read_bytes())
    magic, version, count, _, fraction_bits, _, _ = struct.unpack("<4sIIBBBB", content[:16])
    assert (magic, version) == (b"NGSP", 3)
    low, middle, high = np.frombuffer(content[16 : 16 + 9 * count], np.uint8).reshape(count, 3, 3).astype(int).T
    whole = low | middle << 8 | high << 16
    return np.where(whole >> 23, whole - (1 << 24), whole).T / (1 << fraction_bits)


def sog_positions(path: Path) -> np.ndarray:
    """Positions by the layout of version 2: 16 bits of a symmetric logarithm in two images."""
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("meta.json"))
        lower, upper = (
            np.array(Image.open(io.BytesIO(archive.read(name))).convert("RGB")).reshape(-1, 3)[: meta["count"]]
            for name in ("means_l.webp", "means_u.webp")
        )
    low, high = np.array(meta["means"]["mins"]), np.array(meta["means"]["maxs"])
    values = low + (lower + 256.0 * upper) / 65535 * (high - low)
    return np.sign(values) * np.expm1(np.abs(values))


@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize(
    ("write", "read", "positions", "name"),
    [(write_spz, read_spz, spz_positions, "a.spz"), (write_sog, read_sog, sog_positions, "a.sog")],
)
def test_files_hold_the_gaussians(random_gaussians, tmp_path: Path, degree, write, read, positions, name) -> None:
    raw: RawGaussians = random_gaussians(degree, 300)
    raw.opacity_logits[:2] = torch.tensor([-20.0, 20.0])
    write(raw, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    stored = torch.from_numpy(positions(tmp_path / name)).float()
    rows = torch.cdist(stored, raw.means).argmin(1)
    assert sorted(rows.tolist()) == list(range(300))
    if name == "a.spz":
        assert rows.tolist() == list(range(300))
    torch.testing.assert_close(stored, raw.means[rows], atol=3e-4, rtol=0)
    ours, theirs = read(tmp_path / name).activate(), raw.activate()
    torch.testing.assert_close(ours.means, raw.means[rows], atol=3e-4, rtol=0)
    torch.testing.assert_close(ours.scales, theirs.scales[rows], atol=0, rtol=0.05)
    torch.testing.assert_close(ours.opacities, theirs.opacities[rows], atol=3 / 255, rtol=0)
    turned = quats_to_matrices(ours.quats) - quats_to_matrices(theirs.quats[rows])
    assert turned.abs().max() < 0.03
    assert ours.sh.shape == raw.sh.shape
    torch.testing.assert_close(ours.sh[:, 0], raw.sh[rows, 0], atol=0.05, rtol=0)


def test_spz_is_y_up_as_its_specification_says(random_gaussians, tmp_path: Path) -> None:
    frames = random_gaussians(0).expand_times(2)
    z_up = Similarity(1.0, torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), torch.zeros(3))
    scene = BakedGaussians(frames, Timeline((0.0, 1.0), 1.0, False), z_up)
    first, *_ = export_scene(scene, tmp_path / "frames", "spz")
    np.testing.assert_allclose(spz_positions(first), frames.means[0].numpy(), atol=3e-4)


@pytest.mark.parametrize("read", [read_spz, read_sog])
def test_damaged_files_are_named(tmp_path: Path, read) -> None:
    (tmp_path / "a.bin").write_bytes(b"no splats")
    with pytest.raises(ValueError, match=r"a\.bin"):
        read(tmp_path / "a.bin")


def test_the_extra_is_named_where_it_is_missing(
    random_gaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gaussforge", None)
    with pytest.raises(ImportError, match="spz"):
        write_spz(random_gaussians(0), tmp_path / "a.spz")
    assert list(tmp_path.iterdir()) == []
