"""A video of a moving object in, dynamic 3D Gaussians out: an implementation of DS4D.

`run` fits a scene to a video or to views and `load` reads a fitted one; `Camera` is what it is rendered with.
`iter_run` yields what happens during a run, `PRESETS` are its settings, `load_views` reads an input by itself.

The paper's two modules serve other trainers of Gaussians as well (docs/plug_in.md): `reference_basis` and `decouple`
are DSFD, `Tssf` is TSSF, and `cache_features` makes of a video's `FrameFeatures` what TSSF reads at any time.

All names are imported when first used, so that importing the package is fast.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds4d.api import Camera, DynamicScene, RunResult, load, run
    from ds4d.config import GenerateConfig
    from ds4d.data import load_views
    from ds4d.decoupling import DecouplingConfig, decouple, reference_basis
    from ds4d.fusion import FusionConfig, Tssf
    from ds4d.pipeline import iter_run
    from ds4d.presets import PRESETS
    from ds4d.scene import DynamicGaussians, FrameFeatureCache, cache_features
    from ds4d.types import Cameras, FrameFeatures

__version__ = "0.2.0"
__all__ = [
    "PRESETS",
    "Camera",
    "Cameras",
    "DecouplingConfig",
    "DynamicGaussians",
    "DynamicScene",
    "FrameFeatureCache",
    "FrameFeatures",
    "FusionConfig",
    "GenerateConfig",
    "RunResult",
    "Tssf",
    "cache_features",
    "decouple",
    "iter_run",
    "load",
    "load_views",
    "reference_basis",
    "run",
]

_MODULES = {
    "PRESETS": "ds4d.presets",
    "Camera": "ds4d.api",
    "Cameras": "ds4d.types",
    "DecouplingConfig": "ds4d.decoupling",
    "DynamicGaussians": "ds4d.scene",
    "DynamicScene": "ds4d.api",
    "FrameFeatureCache": "ds4d.scene",
    "FrameFeatures": "ds4d.types",
    "FusionConfig": "ds4d.fusion",
    "GenerateConfig": "ds4d.config",
    "RunResult": "ds4d.api",
    "Tssf": "ds4d.fusion",
    "cache_features": "ds4d.scene",
    "decouple": "ds4d.decoupling",
    "iter_run": "ds4d.pipeline",
    "load": "ds4d.api",
    "load_views": "ds4d.data",
    "reference_basis": "ds4d.decoupling",
    "run": "ds4d.api",
}


# OpenMP's idle threads spin on the cores that the threads of ds4d's own kernels need: a fit takes up to several times
# as long. OpenMP reads the policy when torch is loaded. GNU's threads may wait a fraction of a millisecond for the
# next loop, which is cheaper than to sleep.
OPENMP_SPINS = "OMP_WAIT_POLICY" not in os.environ and "torch" in sys.modules
if "OMP_WAIT_POLICY" not in os.environ and not OPENMP_SPINS:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ds4d' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
