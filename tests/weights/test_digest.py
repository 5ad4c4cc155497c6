"""Digests of models, and their reuse."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.weights import MODELS, model_files, weights_digest

DINO = MODELS["dinov2-small"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "digests"


@pytest.fixture
def folder(save_outline: Callable, tmp_path: Path) -> Path:
    return save_outline(DINO, tmp_path / "model")


def test_digest_is_of_all_files_in_order(folder: Path) -> None:
    settings, weights = (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes()
    assert weights_digest(DINO, folder) == hashlib.sha256(settings + weights).hexdigest()
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_size": 384, "more": 1}))
    assert weights_digest(DINO, folder) != hashlib.sha256(settings + weights).hexdigest()


def test_files_that_just_changed_are_not_recorded(folder: Path, cache: Path) -> None:
    weights_digest(DINO, folder)
    assert not cache.exists()


def test_unchanged_files_are_not_read_again(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds4d.weights.digest._SETTLED_SECONDS", -1.0)
    first = weights_digest(DINO, folder)
    (record,) = cache.iterdir()
    record.write_text("recorded")
    assert weights_digest(DINO, folder) == "recorded"
    assert weights_digest(DINO, folder, reuse=False) == first
    model_files(DINO, folder)[1].write_bytes(b"other weights")
    assert weights_digest(DINO, folder) not in (first, "recorded")


def test_unwritable_cache_is_ignored(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds4d.weights.digest._SETTLED_SECONDS", -1.0)
    (tmp_path / "file").touch()
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "file"))
    assert weights_digest(DINO, folder) == weights_digest(DINO, folder)
