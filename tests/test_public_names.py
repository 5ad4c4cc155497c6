"""What `import ds4d` offers, and that it is light all the same."""

import subprocess
import sys

import pytest

import ds4d
from ds4d.pipeline import generate
from ds4d.presets import PRESETS
from ds4d.scene import DynamicGaussians
from ds4d.views import load_views


def test_public_names_are_those_of_their_rooms() -> None:
    ours = (ds4d.PRESETS, ds4d.DynamicGaussians, ds4d.generate, ds4d.load_views)
    assert ours == (PRESETS, DynamicGaussians, generate, load_views)
    assert ds4d.__all__ == ["PRESETS", "DynamicGaussians", "generate", "load_views"]


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'ds4d' has no attribute 'genrate'"):
        _ = ds4d.genrate


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, ds4d; assert 'torch' not in sys.modules; ds4d.PRESETS; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
