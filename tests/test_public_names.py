"""What `import ds4d` offers, and that it is light all the same."""

import subprocess
import sys

import pytest

import ds4d
from ds4d.data import load_views
from ds4d.decoupling import DecouplingConfig, decouple, reference_basis
from ds4d.fusion import FusionConfig, Tssf
from ds4d.pipeline import iter_run
from ds4d.presets import PRESETS
from ds4d.scene import DynamicGaussians, FrameFeatureCache, cache_features
from ds4d.types import Cameras, FrameFeatures

NAMES = {
    "PRESETS": PRESETS,
    "Cameras": Cameras,
    "FrameFeatureCache": FrameFeatureCache,
    "DecouplingConfig": DecouplingConfig,
    "DynamicGaussians": DynamicGaussians,
    "FrameFeatures": FrameFeatures,
    "FusionConfig": FusionConfig,
    "Tssf": Tssf,
    "decouple": decouple,
    "iter_run": iter_run,
    "load_views": load_views,
    "cache_features": cache_features,
    "reference_basis": reference_basis,
}


def test_public_names_are_those_of_their_rooms() -> None:
    assert sorted(ds4d.__all__) == sorted(NAMES)
    assert all(getattr(ds4d, name) is value for name, value in NAMES.items())


PLUGGED_IN = ("Cameras", "FrameFeatureCache", "FrameFeatures", "Tssf", "decouple", "cache_features", "reference_basis")
OURS = ("cli", "evaluation", "guidance", "init", "losses", "pipeline", "presets", "training")


def test_the_papers_modules_do_without_our_trainer() -> None:
    code = (
        f"import sys, ds4d, ds4d.features; [getattr(ds4d, name) for name in {PLUGGED_IN}]; "
        f"print(*[name for name in {OURS} if 'ds4d.' + name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'ds4d' has no attribute 'genrate'"):
        _ = ds4d.genrate


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, ds4d; assert 'torch' not in sys.modules; ds4d.PRESETS; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
