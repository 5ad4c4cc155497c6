"""The checks of `ds4d info`: what is broken is found, named, and comes with what to do."""

import json
import shutil
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.cli import installation
from ds4d.cli.installation import CHECKS, run_checks


def test_all_checks_pass_here(ds4d: Callable) -> None:
    done = ds4d("info", "--json")
    checks = json.loads(done.out)["result"]["checks"]
    assert done.code == 0 and list(checks) == list(CHECKS)
    assert all(checks[name]["fix"] == "" and checks[name]["text"] for name in ("kernels", "codecs", "cache"))


def test_a_cache_that_cannot_be_written(ds4d: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "file"))
    done = ds4d("info")
    assert done.code == 0 and "DS4D_CACHE" in done.out and "all checks passed" not in done.out


def test_a_missing_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"hevc"})
    check = run_checks()["codecs"]
    assert "HEVC" in check.text and check.fix


def test_an_encoder_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("no encoder")

    monkeypatch.setattr(installation, "write_video", fail)
    check = run_checks()["codecs"]
    assert "H.264" in check.text and check.fix


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**20})())
    assert run_checks()["disk"].fix


def test_no_browser_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(using: str | None = None) -> None:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    assert run_checks()["browser"].fix == ""


def test_kernels_that_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(installation, "render_once", fail)
    check = run_checks()["kernels"]
    assert "no such instruction" in check.text and check.fix
