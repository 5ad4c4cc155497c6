"""Every example runs, on a fit of a few steps."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.imaging import image_size
from ds4d.presets import GenerateConfig

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_hello_4d(tmp_path: Path, quick_config: GenerateConfig, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("hello_4d", EXAMPLES / "00_hello_4d.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(tmp_path, replace(quick_config, fit=replace(quick_config.fit, static_steps=2, dynamic_steps=4)))
    assert "dB on the front view" in capsys.readouterr().out
    assert image_size(tmp_path / "upper_left.png") == (256, 256)
