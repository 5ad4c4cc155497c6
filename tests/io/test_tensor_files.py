"""Files of tensors: what is written comes back, and any change is noticed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ds4d.io import DIGEST, DamagedFileError, read_tensors, write_tensors

TENSORS = {
    "x": torch.arange(6.0).reshape(2, 3),
    "none": torch.zeros(0, 3),
    "flag": torch.tensor(True),
    "n": torch.ones(2).half(),
}


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
