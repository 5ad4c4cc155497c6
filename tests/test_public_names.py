"""What `import ds4d` offers, how fast it is, and its policy for OpenMP's threads."""

import os
import subprocess
import sys

import pytest

import ds4d
from ds4d.api import Camera, DynamicScene, RunResult, load, run
from ds4d.config import GenerateConfig
from ds4d.data import load_views
from ds4d.decoupling import DecouplingConfig, decouple, reference_basis
from ds4d.fusion import FusionConfig, Tssf
from ds4d.pipeline import iter_run
from ds4d.presets import PRESETS
from ds4d.scene import DynamicGaussians, FrameFeatureCache, cache_features
from ds4d.types import Cameras, FrameFeatures

NAMES = {
    "PRESETS": PRESETS,
    "Camera": Camera,
    "Cameras": Cameras,
    "DecouplingConfig": DecouplingConfig,
    "DynamicGaussians": DynamicGaussians,
    "DynamicScene": DynamicScene,
    "FrameFeatureCache": FrameFeatureCache,
    "FrameFeatures": FrameFeatures,
    "FusionConfig": FusionConfig,
    "GenerateConfig": GenerateConfig,
    "RunResult": RunResult,
    "Tssf": Tssf,
    "cache_features": cache_features,
    "decouple": decouple,
    "iter_run": iter_run,
    "load": load,
    "load_views": load_views,
    "reference_basis": reference_basis,
    "run": run,
}
PLUGGED_IN = ("Cameras", "FrameFeatureCache", "FrameFeatures", "Tssf", "decouple", "cache_features", "reference_basis")
OURS = ("cli", "evaluation", "guidance", "init", "losses", "pipeline", "presets", "training")


def python(code: str, **environment: str) -> list[str]:
    """What a fresh Python prints, without OpenMP's variables unless they are given."""
    base = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    result = subprocess.run(
        [sys.executable, "-c", code], env=base | environment, capture_output=True, text=True, check=True
    )
    return result.stdout.splitlines()


def test_public_names() -> None:
    assert sorted(ds4d.__all__) == sorted(NAMES)
    assert all(getattr(ds4d, name) is value for name, value in NAMES.items())


def test_tab_completion_knows_all_names() -> None:
    assert set(NAMES) | {"__version__"} == set(dir(ds4d))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="genrate"):
        _ = ds4d.genrate


def test_papers_modules_do_not_import_the_trainer() -> None:
    code = (
        f"import sys, ds4d, ds4d.features; [getattr(ds4d, name) for name in {PLUGGED_IN}]; "
        f"print(*[name for name in {OURS} if 'ds4d.' + name in sys.modules])"
    )
    assert python(code) == [""]


def test_nothing_is_imported_before_it_is_used() -> None:
    python("import sys, ds4d; assert 'torch' not in sys.modules")


POLICY = "import os; print(*map(os.environ.get, ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')), sep='\\n'); "


def test_openmp_is_told_not_to_spin() -> None:
    assert python(f"import ds4d; {POLICY}") == ["PASSIVE", "20000"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None"]),
        ({"GOMP_SPINCOUNT": "5"}, ["PASSIVE", "5"]),
    ],
)
def test_openmp_variables_that_are_set_are_kept(given: dict[str, str], found: list[str]) -> None:
    assert python(f"import ds4d; {POLICY}", **given) == found


def test_a_torch_that_was_imported_first_is_warned_of_once() -> None:
    code = (
        "import torch, ds4d; from ds4d.core import choose_device, notices_to; torch.set_num_threads(2)\n"
        "with notices_to(lambda notice: print(notice.part)): [choose_device('cpu') for _ in range(2)]"
    )
    assert python(code) == ["threads"]
    assert python(code.replace("import torch, ds4d", "import ds4d, torch")) == []
