"""A ball that is there in some frames only, beside a body that is there in all: videos, and scenes that may lack it."""

from dataclasses import replace

import numpy as np
import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.geometry import orbit_cameras
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians, Motion, Timeline
from ds4d.shapes import gaussians_from_points, random_ball
from ds4d.types import ArrayFrames, MultiViewVideo, RawGaussians, Similarity

FRAMES, DURATION, SIZE = 24, 2.3, 32
BOX = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
PLACE = torch.tensor([0.3, 0.25, 0.1])  # of the ball that appears
RENDERER = renderer_for("cpu")


def ball(center: torch.Tensor, radius: float, color: tuple[float, float, float]) -> RawGaussians:
    points = center + random_ball(300, radius, torch.Generator().manual_seed(0))[0]
    colors = torch.tensor(color).expand(300, 3)
    return gaussians_from_points(points, colors, opacity=0.9, sh_degree=0, scale_factor=1.0)


BODY, APPEARS = ball(torch.tensor([-0.1, -0.1, 0.0]), 0.25, (0.2, 0.6, 0.5)), ball(PLACE, 0.12, (0.9, 0.3, 0.1))


def joined(*parts: RawGaussians) -> RawGaussians:
    names = RawGaussians.__dataclass_fields__
    return RawGaussians(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def first(raw: RawGaussians, count: int) -> RawGaussians:
    return RawGaussians(**{name: getattr(raw, name)[:count] for name in RawGaussians.__dataclass_fields__})


BOTH = joined(BODY, APPEARS)


def scene_of(raw: RawGaussians) -> DynamicGaussians:
    """A scene whose motion has learned nothing."""
    times = tuple(torch.linspace(0, 1, FRAMES).tolist())
    field = FieldConfig(HexPlaneConfig(channels=2, resolution=4, multipliers=(1,)), width=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DynamicGaussians(
            raw, Motion(field, BOX, FRAMES), Timeline(times, DURATION, False), Similarity.identity()
        )


def video_of(shown: range) -> MultiViewVideo:
    """The body from five sides, and the ball in some frames."""
    azimuths = [0.0, 72.0, 144.0, 216.0, 288.0]
    cameras = orbit_cameras(azimuths, [10.0, 25.0] * 2 + [0.0], fovy_deg=40.0, distance=2.2, width=SIZE, height=SIZE)
    images = []
    for raw in (BODY, BOTH):
        with torch.no_grad():
            drawn = RENDERER.render(raw.expand_times(1).activate(), cameras.expand_times(1))
        rgba = torch.cat((drawn.colors[0], drawn.alphas[0]), 1).clamp(0, 1)
        images.append((255 * rgba).round().byte().movedim(1, -1).numpy())
    return MultiViewVideo(
        frames=ArrayFrames(np.stack([images[frame in shown] for frame in range(FRAMES)])),
        cameras=cameras.expand_times(FRAMES),
        valid=torch.ones(FRAMES, 5, dtype=torch.bool),
        times=torch.linspace(0, 1, FRAMES),
        view_names=tuple("abcde"),
        view_weights=torch.ones(5),
        duration=DURATION,
        loops=False,
    )


def tracked(video: MultiViewVideo) -> MultiViewVideo:
    """The same video of an object whose motion was tracked: it stays where it is."""
    rows = (torch.arange(8) + 0.5) / 8
    places = torch.stack(torch.meshgrid(rows, rows, indexing="xy"), -1)
    return replace(video, tracks=torch.cat((places, torch.ones(8, 8, 1)), -1).expand(FRAMES, -1, -1, -1).contiguous())
