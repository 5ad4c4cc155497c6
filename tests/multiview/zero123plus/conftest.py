"""A small video, and the tiny networks loaded once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8

from ds4d.multiview.zero123plus.networks import Zero123PlusNetworks
from ds4d.types import ArrayFrames, Video
from ds4d.weights import MODELS


@pytest.fixture(scope="session")
def networks(tiny_zero123plus: Path) -> Zero123PlusNetworks:
    """On the CPU, in single precision."""
    return Zero123PlusNetworks(
        MODELS["zero123plus-v1.1"], tiny_zero123plus, torch.device("cpu"), dtype=torch.float32, offload=False
    )


@pytest.fixture(scope="session")
def shown() -> list[UInt8[np.ndarray, "S S 3"]]:
    """Three different frames, as the networks are shown them."""
    rng = np.random.default_rng(0)
    return [np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(3)]


@pytest.fixture(scope="session")
def video() -> Video:
    """Three frames of a disc that grows, 40 x 40 pixels."""
    ys, xs = np.mgrid[:40, :40]
    inside = [(xs - 19.5) ** 2 + (ys - 19.5) ** 2 < radius**2 for radius in (12, 13, 14)]
    frames = np.stack([np.where(each[..., None], (220, 120, 40, 255), 0) for each in inside]).astype(np.uint8)
    return Video(ArrayFrames(frames[:, None]), fps=6.0)
