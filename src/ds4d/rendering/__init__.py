"""Gaussian splatting: one protocol, three renderers."""

import torch

from ds4d.rendering.cpu import CpuRenderer as CpuRenderer
from ds4d.rendering.gsplat_backend import GsplatRenderer as GsplatRenderer
from ds4d.rendering.meshes import render_mesh as render_mesh
from ds4d.rendering.reference import ReferenceRenderer as ReferenceRenderer
from ds4d.rendering.settings import SplatSettings as SplatSettings
from ds4d.types import Renderer

RENDERERS: dict[str, type[Renderer]] = {
    "reference": ReferenceRenderer,
    "cpu": CpuRenderer,
    "gsplat": GsplatRenderer,
}


def renderer_for(device: torch.device | str) -> Renderer:
    """The fastest renderer for tensors on `device`: gsplat on CUDA, the compiled one on the CPU.

    Raises:
        ImportError: the device is a CUDA device and gsplat is not installed.
    """
    return RENDERERS["gsplat" if torch.device(device).type == "cuda" else "cpu"]()
