"""Safetensors files: those from outside, and those with a digest, of which any change is noticed."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ds4d.core import large_arrays
from ds4d.io import (
    DIGEST,
    DamagedFileError,
    is_finite,
    read_safetensors,
    read_shapes,
    read_tensors,
    tensor_files,
    write_tensors,
)
from ds4d.io.tensor_files import encode_safetensors

TENSORS = {
    "x": torch.arange(6.0).reshape(2, 3),
    "none": torch.zeros(0, 3),
    "flag": torch.tensor(True),
    "n": torch.ones(2).half(),
}


def raw(path: Path, header: object, content: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + content)
    return path


def tensor(kind: str = "F32", shape: tuple[int, ...] = (2,), end: int = 8) -> dict:
    return {"a": {"dtype": kind, "shape": list(shape), "data_offsets": [0, end]}}


def test_tensors_and_metadata(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.zeros(0, 4).half()}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"key": "value"})
    found, metadata = read_safetensors(tmp_path / "x.safetensors")
    assert metadata == {"key": "value"} and found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert read_shapes(tmp_path / "x.safetensors") == {"a": (2, 3), "b": (0, 4)}


@pytest.mark.parametrize(
    ("header", "options"),
    [
        (b"", {"length": 2**63}),
        (b"", {"length": 2**30}),
        (b"[" * 5000, {}),
        (b"{}"[:1], {}),
        (tensor(shape=(2**40, 2**40)), {}),
        (tensor(shape=(10**12,), end=4 * 10**12), {}),
        (tensor(shape=(-1,)), {}),
        (tensor("F8_E4M3", shape=(8,)), {}),
        (tensor("C64", shape=(1,)), {}),
        (tensor("NO", shape=(1,)), {}),
        ({"a": 1}, {}),
        ({"__metadata__": {"a": 1}}, {}),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: object, options: dict) -> None:
    path = raw(tmp_path / "x.safetensors", header, b"\0" * 8, **options)
    for read in (read_safetensors, read_tensors):
        with pytest.raises(ValueError, match=r"x\.safetensors"):
            read(path)


def test_a_header_of_gigabytes_is_not_parsed(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.safetensors", b"", length=2**30)
    os.truncate(path, 2**31)
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        read_shapes(path)


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        read_safetensors(tmp_path / "x.safetensors")
    with pytest.raises(DamagedFileError, match=r"x\.safetensors"):
        read_tensors(tmp_path / "x.safetensors")


def test_names_that_are_not_utf8_can_be_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.safetensors"))
    try:
        path.write_bytes((raw(tmp_path / "x", tensor(), b"\0" * 8)).read_bytes())
    except OSError:
        pytest.skip("needs a file system that accepts any bytes as a name")
    assert torch.equal(read_safetensors(path)[0]["a"], torch.zeros(2))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_finiteness_of_every_value(bad: float) -> None:
    values = torch.zeros(3, 2_000_001)
    assert is_finite(values) and is_finite(torch.zeros(0)) and is_finite(torch.tensor(1))
    values[-1, -1] = bad
    assert not is_finite(values)
    values[0, 0] = -values[-1, -1]
    assert not is_finite(values)


def test_values_whose_sum_overflows_are_finite() -> None:
    assert is_finite(torch.full((3,), 3e38)) and is_finite(torch.full((3,), 60_000.0, dtype=torch.float16))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of tensors."""
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"about": "a test"})
    return path


def test_tensors_and_texts_come_back(path: Path) -> None:
    tensors, metadata = read_tensors(path)
    assert tensors.keys() == TENSORS.keys() and metadata["about"] == "a test" and len(metadata[DIGEST]) == 64
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype


def test_every_flipped_bit_of_a_value_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    start = len(whole) - sum(tensor.nbytes for tensor in TENSORS.values())
    for position in range(start, len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DamagedFileError, match="digest"):
            read_tensors(path)


@pytest.mark.parametrize(("old", "new"), [(b"a test", b"b test"), (b"[2,3]", b"[3,2]"), (b'"x"', b'"y"')])
def test_other_names_shapes_and_texts_are_noticed(path: Path, old: bytes, new: bytes) -> None:
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(DamagedFileError):
        read_tensors(path)


@pytest.mark.parametrize("content", [b"", b"no tensors at all"])
def test_other_files_are_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_tensors(path)


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")[0]["x"], torch.ones(2))


def test_files_are_those_of_the_library(tmp_path: Path) -> None:
    tensors = TENSORS | {
        "half": torch.arange(6).half().view(2, 3),
        "empty": torch.zeros(0, 4),
        "yes": torch.tensor(True),
    }
    tensors |= {"rows": torch.arange(12).view(3, 4).T}
    written = b"".join(encode_safetensors({name: x.contiguous() for name, x in tensors.items()}, {"about": "a test"}))
    save_file({name: x.contiguous() for name, x in tensors.items()}, tmp_path / "x", metadata={"about": "a test"})
    assert written == (tmp_path / "x").read_bytes()


def test_large_tensors_are_read_and_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"a": torch.arange(100_000.0), "b": torch.arange(999).half(), "c": torch.zeros(3, 0)}
    write_tensors(tmp_path / "small", tensors)
    monkeypatch.setattr(large_arrays, "LIMIT_BYTES", 100)
    monkeypatch.setattr(tensor_files, "LIMIT_BYTES", 100)
    monkeypatch.setattr(large_arrays, "_BLOCK_BYTES", 4096)
    write_tensors(tmp_path / "large", tensors)
    assert (tmp_path / "small").read_bytes() == (tmp_path / "large").read_bytes()
    found, _ = read_tensors(tmp_path / "large")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    damaged = bytearray((tmp_path / "large").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "large").write_bytes(damaged)
    with pytest.raises(DamagedFileError):
        read_tensors(tmp_path / "large")
