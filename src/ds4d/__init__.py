"""A video of a moving object in, dynamic 3D Gaussians out: an implementation of DS4D.

`iter_run` runs the whole flow, `PRESETS` are its settings by name, `load_views` reads an input by itself, and
`DynamicGaussians` is the result. The paper's two modules serve other trainers of Gaussians as well (docs/plug_in.md):
`reference_basis` and `decouple` are DSFD by itself, `Tssf` is TSSF, and `cache_features` makes of a clip's
`FrameFeatures` what TSSF reads at any time. All are imported when first asked for, so that importing the package is
light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds4d.data import load_views
    from ds4d.decoupling import DecouplingConfig, decouple, reference_basis
    from ds4d.fusion import FusionConfig, Tssf
    from ds4d.pipeline import iter_run
    from ds4d.presets import PRESETS
    from ds4d.scene import DynamicGaussians, FrameFeatureCache, cache_features
    from ds4d.types import Cameras, FrameFeatures

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Cameras",
    "DecouplingConfig",
    "DynamicGaussians",
    "FrameFeatureCache",
    "FrameFeatures",
    "FusionConfig",
    "Tssf",
    "cache_features",
    "decouple",
    "iter_run",
    "load_views",
    "reference_basis",
]

_HOMES = {
    "Cameras": "ds4d.types",
    "FrameFeatureCache": "ds4d.scene.frame_features",
    "DecouplingConfig": "ds4d.decoupling",
    "DynamicGaussians": "ds4d.scene",
    "FrameFeatures": "ds4d.types",
    "FusionConfig": "ds4d.fusion",
    "PRESETS": "ds4d.presets",
    "Tssf": "ds4d.fusion",
    "decouple": "ds4d.decoupling",
    "iter_run": "ds4d.pipeline",
    "load_views": "ds4d.data",
    "cache_features": "ds4d.scene.frame_features",
    "reference_basis": "ds4d.decoupling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ds4d' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
