"""Digests of models, and their reuse."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.weights import MODELS, weights_digest

DINO = MODELS["dinov2-small"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(save_outline: Callable, tmp_path: Path) -> Path:
    return save_outline(DINO, tmp_path / "model")


def test_digest_is_of_all_files_in_order(folder: Path) -> None:
    settings, weights = (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes()
    assert weights_digest(DINO, folder) == hashlib.sha256(settings + weights).hexdigest()
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_size": 384, "more": 1}))
    assert weights_digest(DINO, folder) != hashlib.sha256(settings + weights).hexdigest()


def test_unchanged_files_are_read_once(folder: Path) -> None:
    weights = folder / "model.safetensors"
    minute_ago = time.time_ns() - 60 * 10**9
    for path in (folder / "config.json", weights):
        os.utime(path, ns=(minute_ago, minute_ago))
    digest = weights_digest(DINO, folder)
    weights.write_bytes(bytes(weights.stat().st_size))
    os.utime(weights, ns=(minute_ago, minute_ago))
    assert weights_digest(DINO, folder) == digest
    assert weights_digest(DINO, folder, reuse=False) != digest
    os.utime(weights, ns=(minute_ago, minute_ago + 1))
    assert weights_digest(DINO, folder) != digest


def test_files_that_were_just_written_are_not_cached(folder: Path, cache: Path) -> None:
    """They could change again without another time of modification."""
    weights_digest(DINO, folder)
    assert not cache.exists()
