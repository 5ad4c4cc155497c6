"""Versions as they are recorded."""

import json
import platform
from pathlib import Path

import pytest
import torch

from ds4d import __version__
from ds4d.core import install_command, installed_version, versions


def test_all_that_is_present_is_named() -> None:
    found = versions()
    assert (found["ds4d"], found["Python"]) == (__version__, platform.python_version())
    assert found["torch"] == torch.__version__
    assert None not in found.values()


def test_what_is_not_installed_has_none() -> None:
    assert installed_version("no-such-package-here") is None


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install '.[cuda]'"),
        ({"url": "https://example.com/ds4d.zip"}, "pip install '.[cuda]'"),
        ({"url": "file:///no/such/checkout"}, "pip install '.[cuda]'"),
        ({"url": "FOLDER", "dir_info": {}}, "pip install 'FOLDER[cuda]'"),
        ({"url": "FOLDER", "dir_info": {"editable": True}}, "pip install -e 'FOLDER[cuda]'"),
    ],
)
def test_extras_are_installed_from_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: dict | None, command: str
) -> None:
    class Distribution:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return record and json.dumps(record).replace("FOLDER", tmp_path.as_uri())

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution())
    assert install_command("cuda") == command.replace("FOLDER", str(tmp_path))
