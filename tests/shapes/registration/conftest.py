"""The sample creature as a shape to be registered."""

from collections.abc import Callable

import pytest
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import quats_to_matrices
from ds4d.types import Cameras, FrameBatch, MultiViewVideo, PointCloud


@pytest.fixture(scope="session")
def creature(creature_mesh: trimesh.Trimesh) -> PointCloud:
    """Colored points of its surface in the world of the sample's cameras."""
    positions, faces = trimesh.sample.sample_surface(creature_mesh, 5000, seed=0)
    colors = creature_mesh.visual.face_colors[faces][:, :3] / 255
    return PointCloud(torch.from_numpy(positions).float(), torch.from_numpy(colors).float())


@pytest.fixture(scope="session")
def middle_views(quick_video: MultiViewVideo) -> Callable[..., tuple[FrameBatch, Cameras, Tensor]]:
    """Images, cameras and weights of the first views of the middle frame."""

    def views(count: int) -> tuple[FrameBatch, Cameras, Tensor]:
        rows = torch.arange(count)
        times = torch.full_like(rows, quick_video.middle)
        cameras = quick_video.cameras
        chosen = cameras[0, rows]
        return quick_video.gather(times, rows), chosen, quick_video.view_weights[rows]

    return views


@pytest.fixture(scope="session")
def random_orientation() -> Callable[..., Float[Tensor, "3 3"]]:
    """A random rotation by its seed, of the mirror image if asked for."""

    def orientation(seed: int, *, mirrored: bool) -> Float[Tensor, "3 3"]:
        quat = torch.randn(4, generator=torch.Generator().manual_seed(seed))
        return quats_to_matrices(quat) @ torch.diag(torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0]))

    return orientation
