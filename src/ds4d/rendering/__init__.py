"""The splatter: one protocol, three back ends."""

import torch

from ds4d.rendering.cpu import CpuRenderer as CpuRenderer
from ds4d.rendering.gsplat_backend import GsplatRenderer as GsplatRenderer
from ds4d.rendering.reference import ReferenceRenderer as ReferenceRenderer
from ds4d.rendering.settings import SplatSettings as SplatSettings
from ds4d.types import Renderer

RENDERERS: dict[str, type[Renderer]] = {
    "reference": ReferenceRenderer,
    "cpu": CpuRenderer,
    "gsplat": GsplatRenderer,
}


def renderer_for(device: torch.device | str) -> Renderer:
    """The fastest back end for tensors on `device`: gsplat on CUDA, else numba on the CPU.

    Raises:
        ImportError: the device is a CUDA one and the extra `cuda` is not installed.
    """
    return RENDERERS["gsplat" if torch.device(device).type == "cuda" else "cpu"]()
