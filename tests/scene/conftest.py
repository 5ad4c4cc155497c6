"""Small scenes that move."""

from collections.abc import Callable

import pytest
import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import FusionConfig
from ds4d.scene import DynamicGaussians, FrameFeatureCache, Motion, Timeline
from ds4d.types import Cameras, Gaussians, RawGaussians, Similarity

FIELD = FieldConfig(hexplane=HexPlaneConfig(channels=2, resolution=4, multipliers=(1, 3)), width=8, deform_color=True)
TIMELINE = Timeline((0.0, 0.2, 0.7, 1.0), 2.5, True)
MakeScene = Callable[..., DynamicGaussians]


def _features(cameras: Cameras, *, channels: int = 6) -> FrameFeatureCache:
    """Random features of all frames and views."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(TIMELINE.times), cameras.num_views)
    return FrameFeatureCache(
        maps=torch.randn(*shape, channels, 5, 6, generator=generator).half(),
        valid=torch.ones(shape),
        times=torch.tensor(TIMELINE.times),
        cameras=cameras,
        distance_maps=torch.randn(*shape, 3, 5, 6, generator=generator).half(),
        depths=(1.5 + torch.rand(*shape, 1, 8, 10, generator=generator)).half(),
    )


@pytest.fixture
def make_scene(tiny_gaussians: RawGaussians) -> MakeScene:
    """Makes a scene of 12 Gaussians and 4 frames that moves; `field` None: static, `cameras`: with features."""

    def make(
        field: FieldConfig | None = FIELD, *, fusion: FusionConfig | None = None, cameras: Cameras | None = None
    ) -> DynamicGaussians:
        motion = None
        if field is not None:
            box = torch.tensor([[-0.5, -0.4, -0.3], [0.5, 0.4, 0.3]])
            features = _features(cameras) if cameras is not None else None
            motion = Motion(field, box, len(TIMELINE.times), fusion=fusion, features=features)
            for parameter in (*motion.field.heads.parameters(), *motion.field.hexplane.temporal_planes()):
                torch.nn.init.normal_(parameter)
        rotation = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
        world = Similarity(0.3, rotation, torch.tensor([0.1, 0.2, -0.3]))
        return DynamicGaussians(tiny_gaussians, motion, TIMELINE, world)

    return make


@pytest.fixture
def assert_close() -> Callable[..., None]:
    """Compares all properties of two sets of Gaussians; equal where no tolerance is given."""

    def check(ours: Gaussians, theirs: Gaussians, tolerance: float = 0.0) -> None:
        for name in ("means", "quats", "scales", "opacities", "sh"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=0, atol=tolerance, msg=name)

    return check
