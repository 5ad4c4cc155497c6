"""The splatter: one protocol, three back ends."""

import torch

from ds4d.rendering.cpu import CpuRenderer as CpuRenderer
from ds4d.rendering.reference import ReferenceRenderer as ReferenceRenderer
from ds4d.rendering.settings import SplatSettings as SplatSettings
from ds4d.types import Renderer

RENDERERS: dict[str, type[Renderer]] = {"reference": ReferenceRenderer, "cpu": CpuRenderer}


def renderer_for(device: torch.device | str) -> Renderer:
    """The fastest back end for tensors on `device`."""
    return RENDERERS["cpu"]()
