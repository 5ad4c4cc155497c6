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


def test_doctor_says_what_to_do_and_fails_where_something_is_broken(
    ds4d: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = ds4d("doctor", "--json")
    assert well.code == 0 and list(json.loads(well.out)["result"]["checks"]) == list(CHECKS)
    monkeypatch.setenv("DS4D_MATTING_MODEL", str(tmp_path / "none.onnx"))
    broken = ds4d("doctor")
    assert broken.code == 1 and "matting" in broken.err and "DS4D_MATTING_MODEL" in broken.out
    lines = [line.split(":")[0].split() for line in broken.out.splitlines() if line.startswith(("ok ", "fix "))]
    assert lines == [["fix" if name == "matting" else "ok", name] for name in CHECKS]


def test_a_gpu_on_which_gsplat_does_not_render(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: object) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(installation, "choose_device", lambda name: name)
    monkeypatch.setattr(installation, "render_once", fail)
    check = run_checks()["gsplat"]
    assert "no kernel image" in check.text and check.fix
