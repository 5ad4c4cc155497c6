"""`ds4d weights`."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.weights import MODELS


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$DS4D_WEIGHTS with one complete model and one that lacks a file."""
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path))
    complete = tmp_path / "dinov2-small"
    complete.mkdir()
    (complete / "config.json").write_text('{"model_type": "dinov2", "hidden_size": 384}')
    (complete / "model.safetensors").write_bytes(bytes(12_000_000))
    (tmp_path / "zero123-xl").mkdir()
    return tmp_path


def test_the_table_lists_models_and_how_to_get_them(ds4d: Callable, root: Path) -> None:
    done = ds4d("weights")
    assert done.code == 0
    lines = done.out.splitlines()
    assert all(any(name in line for line in lines) for name in MODELS)
    assert any("dinov2-small" in line and "12 MB" in line and "Apache-2.0" in line for line in lines)
    assert f"  dinov2-small  {root / 'dinov2-small'}" in lines
    assert any("zero123-xl" in line and "incomplete" in line for line in lines)
    assert f"  zero123-xl  {root / 'zero123-xl'}: model_index.json is missing" in lines
    assert any("zero123plus-v1.1" in line and " no " in line and "CC-BY-NC 4.0" in line for line in lines)
    assert "  hf download sudo-ai/zero123plus-v1.1 --local-dir $DS4D_WEIGHTS/zero123plus-v1.1" in lines
    assert not any("hf download facebook/dinov2-small " in line for line in lines)
    assert "SHA-256" not in done.out


def test_json_holds_the_table_and_hashes_on_request(ds4d: Callable, root: Path) -> None:
    rows = {row["name"]: row for row in json.loads(ds4d("weights", "--json").out)["result"]["models"]}
    assert list(rows) == list(MODELS)
    found = rows["dinov2-small"]
    files = [root / "dinov2-small" / name for name in ("config.json", "model.safetensors")]
    assert found["present"] and found["path"] == str(root / "dinov2-small") and found["commercial"] is True
    assert found["bytes"] == sum(file.stat().st_size for file in files)
    assert "sha256" not in found
    plus = rows["zero123plus-v1.2"]
    assert not plus["present"] and plus["commercial"] is False and plus["bytes"] is None
    assert plus["searched"][0]["path"] == str(root / "zero123plus-v1.2")
    with_hash = {row["name"]: row for row in json.loads(ds4d("weights", "--json", "--hash").out)["result"]["models"]}
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert with_hash["dinov2-small"]["sha256"] == digest and with_hash["zero123plus-v1.2"]["sha256"] is None
    assert digest in ds4d("weights", "--hash").out
