"""Synchronised views of a moving object in, dynamic 3D Gaussians out: first part of an implementation of DS4D.

`generate` runs the whole flow, `PRESETS` are its settings by name, `load_views` reads an input by itself, and
`DynamicGaussians` is the result. They are imported when first asked for, so that importing the package is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds4d.pipeline import generate
    from ds4d.presets import PRESETS
    from ds4d.scene import DynamicGaussians
    from ds4d.views import load_views

__version__ = "0.1.0"
__all__ = ["PRESETS", "DynamicGaussians", "generate", "load_views"]

_HOMES = {
    "DynamicGaussians": "ds4d.scene",
    "PRESETS": "ds4d.presets",
    "generate": "ds4d.pipeline",
    "load_views": "ds4d.views",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ds4d' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
