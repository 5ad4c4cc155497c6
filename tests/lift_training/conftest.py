import numpy as np
import pytest
import torch

from ds4d.lift_training import PosedModel
from ds4d.lift_training.model_pool import ModelPool


def sphere(
    name: str = "sphere", *, stretch: tuple[float, float, float] = (1, 1, 1), poses: int = 1, count: int = 16_000
) -> PosedModel:
    """A ball of radius 1, red where z > 0 and blue elsewhere; in further poses it is smaller."""
    rows, columns = np.meshgrid(np.linspace(0, np.pi, 41), np.linspace(0, 2 * np.pi, 81), indexing="ij")
    points = np.stack((np.sin(rows) * np.sin(columns), np.cos(rows), np.sin(rows) * np.cos(columns)), -1)
    first = (np.arange(40)[:, None] * 81 + np.arange(80)).ravel()
    faces = np.concatenate(
        (np.stack((first, first + 81, first + 1), 1), np.stack((first + 1, first + 81, first + 82), 1))
    )
    vertices = points.reshape(-1, 3) * np.array(stretch)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = np.searchsorted(np.cumsum(areas) / areas.sum(), (np.arange(count) + 0.5) / count).clip(0, len(faces) - 1)
    rng = np.random.default_rng(0)
    u, v = rng.random(count), rng.random(count)
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    z = (u * vertices[faces[chosen, 0], 2] + v * vertices[faces[chosen, 1], 2]) + (1 - u - v) * vertices[
        faces[chosen, 2], 2
    ]
    colors = np.where(z[:, None] > 0, [255, 0, 0], [0, 0, 255])
    sizes = np.linspace(1, 0.8, poses)[:, None, None]
    return PosedModel(
        name=name,
        vertices=(sizes * vertices).astype(np.float16),
        faces=faces.astype(np.int32),
        sample_faces=chosen.astype(np.int32),
        sample_barycentric=np.stack((u, v), 1).astype(np.float16),
        sample_colors=colors.astype(np.uint8),
    )


def _pool(count: int) -> ModelPool:
    models = [sphere(count=count), sphere("flat", stretch=(1, 0.7, 0.4), poses=2, count=count)]
    return ModelPool(models, ["ball", "flat"], torch.device("cpu"))


@pytest.fixture(scope="session")
def pool() -> ModelPool:
    """A ball, and a flat one in two poses."""
    return _pool(16_000)


@pytest.fixture(scope="session")
def coarse_pool() -> ModelPool:
    """The same of fewer points, enough for images of 32 pixels."""
    return _pool(6_000)


@pytest.fixture(scope="session")
def make_sphere():
    """Makes balls: see `sphere`."""
    return sphere
