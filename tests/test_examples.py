"""Every example runs, on a fit of a few steps."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ds4d.config import GenerateConfig
from ds4d.io import image_size

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_hello_4d(tmp_path: Path, quick_config: GenerateConfig, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(quick_config, training=replace(quick_config.training, static_steps=2, dynamic_steps=4))
    loaded("00_hello_4d").main(tmp_path, config)
    assert "dB on the front view" in capsys.readouterr().out
    assert image_size(tmp_path / "upper_left.png") == (256, 256)


def test_plug_in(capsys: pytest.CaptureFixture[str]) -> None:
    alone, helped = loaded("02_plug_in").main(steps=40)
    assert f"{helped:.2f} dB with DSFD and TSSF" in capsys.readouterr().out
    assert helped > alone + 0.5
    assert len((EXAMPLES / "02_plug_in.py").read_text().splitlines()) < 100
