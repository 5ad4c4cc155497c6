"""Large arrays: where they are, that their pages go, and that nothing of them stays behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.core import ArrayList, blocks_of, large_array, large_arrays, large_tensor, release_pages

LIMIT = 1 << 16
has_pages = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "LIMIT_BYTES", LIMIT)


def resident_bytes() -> int:
    """Memory of the process that is pages of unnamed temporary files."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            counts = "/ds4d-" in line or "(deleted)" in line
        elif counts and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@has_pages
def test_only_large_arrays_are_in_files_and_their_pages_go_and_come_back() -> None:
    before = resident_bytes()
    small, large = large_array((LIMIT,), np.uint8), large_tensor((64, LIMIT), torch.uint8)
    assert not large.any() and not small.any(), "new arrays are zeros"
    small[:], large[:] = 1, torch.arange(64, dtype=torch.uint8)[:, None]
    assert resident_bytes() - before >= 63 * LIMIT
    release_pages()
    assert resident_bytes() - before < LIMIT
    assert (large == torch.arange(64, dtype=torch.uint8)[:, None]).all() and (small == 1).all()


@has_pages
def test_files_have_no_name_and_go_with_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = large_array((64, LIMIT), np.uint8)
    assert not list(tmp_path.iterdir()), "also a killed process leaves nothing"
    maps = Path("/proc/self/maps")
    assert str(tmp_path) in maps.read_text()
    del array
    assert str(tmp_path) not in maps.read_text()


@pytest.mark.parametrize("broken", ["posix_fallocate", "folder"])
def test_without_room_for_a_file_an_array_is_in_memory(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if broken == "folder":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    else:
        monkeypatch.setattr(os, broken, full, raising=False)
    array = large_array((2, LIMIT), np.uint8)
    array[1] = 3
    assert array.base is None and array[1].all() and not array[0].any()


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float32, torch.bool, torch.int64])
def test_tensors_of_every_kind(dtype: torch.dtype) -> None:
    tensor = large_tensor((3, LIMIT), dtype)
    assert tensor.dtype == dtype and tensor.shape == (3, LIMIT)
    tensor[1] = 1
    assert tensor.sum() == LIMIT


@has_pages
def test_a_pass_over_a_large_tensor_keeps_few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "_BLOCK_BYTES", 4 * LIMIT)
    tensor, before = large_tensor((64 * LIMIT,), torch.uint8), resident_bytes()
    tensor[:] = torch.arange(64, dtype=torch.uint8).repeat_interleave(LIMIT)
    release_pages()
    most, found = 0, []
    for block in blocks_of(tensor):
        found.append(block.unique())
        most = max(most, resident_bytes() - before)
    assert most <= 8 * LIMIT
    assert torch.equal(torch.cat(found), torch.arange(64, dtype=torch.uint8))


def test_a_list_is_like_a_list_of_arrays(rng: np.random.Generator) -> None:
    arrays = [rng.integers(0, 255, (64, 16 + index % 2, 4), dtype=np.uint8) for index in range(60)]  # some 15 limits
    found, expected = ArrayList(arrays), [array.copy() for array in arrays]
    for index in (0, 7, 31, 59, -1):
        for given in (found, expected):
            given[index] *= 3  # in place
            given[index - 1] = given[index - 1][:5, :5].copy()  # of another size
            given[index - 2] = 255 - given[index - 2]
    assert len(found) == 60
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(found[-2:], expected[-2:], strict=True))


@has_pages
def test_a_list_holds_little_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "_BLOCK_BYTES", 4 * LIMIT)
    before = resident_bytes()
    frames = ArrayList(np.full(LIMIT // 2, index, np.uint8) for index in range(200))
    assert resident_bytes() - before < 12 * LIMIT
    assert [int(frame[-1]) for frame in frames] == list(range(200))
    assert resident_bytes() - before < 12 * LIMIT
    stacked = frames.stacked()
    assert stacked.shape == (200, LIMIT // 2) and stacked[:, 0].tolist() == list(range(200))


def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, numpy as np; from ds4d.core import large_array; a = large_array((2**25,), np.uint8); a[:] = 1;"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)})
    assert done.returncode == -9 and not list(tmp_path.iterdir())
