"""`ds4d weights`."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.preprocess.matting import matting_model_path
from ds4d.weights import MODELS, Download


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


CONTENT = bytes(range(256)) * 9000  # more than two chunks


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """A file on this disk in place of the one on the network; without $DS4D_WEIGHTS it goes to the cache."""
    source = tmp_path / "source.onnx"
    source.write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    download = Download("A net", "a.onnx", source.as_uri(), len(CONTENT), digest, "Apache-2.0", "somebody")
    monkeypatch.setitem(MODELS, "matting", replace(MODELS["matting"], download=download))
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    for name in ("DS4D_WEIGHTS", "DS4D_MATTING_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return download


@pytest.mark.parametrize("variable", [True, False])
def test_a_download_is_found_afterwards(
    ds4d: Callable, offered: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    if variable:
        monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path / "weights"))
    folder = tmp_path / ("weights/matting" if variable else "cache/weights/matting")
    assert matting_model_path(None) is None
    done = ds4d("weights", "fetch", "matting", "--yes")
    assert done.code == 0 and "Apache-2.0" in done.out
    assert [path.name for path in folder.iterdir()] == ["a.onnx"]
    assert (folder / "a.onnx").read_bytes() == CONTENT and matting_model_path(None) == folder / "a.onnx"
    again = ds4d("weights", "fetch", "matting", "--json")
    assert again.code == 0 and json.loads(again.out)["files"] == []


def test_nothing_is_downloaded_without_consent(ds4d: Callable, offered: Download, tmp_path: Path) -> None:
    done = ds4d("weights", "fetch", "matting")
    assert done.code == 2 and "Apache-2.0" in done.err and offered.url in done.err and "--yes" in done.err
    assert not (tmp_path / "cache" / "weights").exists()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT * 2, b""])
def test_another_file_is_not_kept(ds4d: Callable, offered: Download, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source.onnx").write_bytes(content)
    done = ds4d("weights", "fetch", "matting", "--yes")
    assert done.code == 2 and offered.sha256 in done.err
    assert list((tmp_path / "cache" / "weights" / "matting").iterdir()) == []


def test_without_a_network_the_file_and_its_place_are_named(ds4d: Callable, offered: Download, tmp_path: Path) -> None:
    (tmp_path / "source.onnx").unlink()
    done = ds4d("weights", "fetch", "matting", "--yes")
    assert done.code == 1
    place = tmp_path / "cache" / "weights" / "matting" / "a.onnx"
    assert all(text in done.err for text in (offered.url, offered.sha256, str(place)))
    assert not (tmp_path / "cache" / "weights").exists()


@pytest.mark.parametrize("argv", [["fetch"], ["fetch", "dinov2-small"], ["list", "matting"], ["--yes"]])
def test_only_some_models_can_be_fetched(ds4d: Callable, argv: list[str]) -> None:
    assert ds4d("weights", *argv).code == 2


def test_what_is_offered_is_described_in_full() -> None:
    for model in MODELS.values():
        if (download := model.download) is not None:
            assert download.url.startswith("https://") and len(bytes.fromhex(download.sha256)) == 32
            assert download.size > 0 and download.license and download.authors and download.url.endswith(download.file)
