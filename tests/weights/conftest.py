"""Folders with the files of pretrained models: expected settings, weights of a few bytes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.weights import PretrainedModel


def _save_outline(model: PretrainedModel, folder: Path) -> Path:
    for part in model.parts:
        base = folder / part.folder
        base.mkdir(parents=True, exist_ok=True)
        if part.settings:
            (base / part.settings).write_text(json.dumps({key: values[0] for key, values in part.expected.items()}))
        for name in part.files:
            (base / name).write_text("{}")
        if part.weights:
            (base / part.weights[0].replace("*", "any")).write_bytes(b"weights")
    return folder


@pytest.fixture
def save_outline() -> Callable[[PretrainedModel, Path], Path]:
    """Writes a folder that counts as complete, without real weights."""
    return _save_outline
