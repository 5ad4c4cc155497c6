"""DSFD and TSSF in a trainer that is not ours: a small Gaussian model of its own learns with their features.

    python examples/02_plug_in.py

Needs no GPU. `TheirModel` and `draw` stand for your trainer and splatter. Shapes and ranges: docs/plug_in.md.
"""

import torch
from torch import Tensor, nn

import ds4d
from ds4d.data.synthetic import SampleConfig, sample_video, surface_points
from ds4d.features import FilterBank, FilterBankConfig
from ds4d.geometry import frame_times, rgb_to_sh
from ds4d.rendering import renderer_for
from ds4d.types import Gaussians, Rendering

FRAMES, SIZE, COUNT = 8, 64, 1000
TIMES, FUSION = frame_times(FRAMES), ds4d.FusionConfig(rule="visible", channels=8, depth_size=SIZE, depth_every=25)


class TheirModel(nn.Module):
    """Canonical Gaussians, gray at first, and a network of (place, time, extra channels) that moves them."""

    def __init__(self, means: Tensor, extra_channels: int) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.colors = nn.Parameter(torch.full_like(means, 0.5))
        self.log_scales = nn.Parameter(torch.full_like(means, 0.018).log())
        self.network = nn.Sequential(nn.Linear(4 + extra_channels, 64), nn.ReLU(), nn.Linear(64, 3))
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

    def forward(self, times: Tensor, extra: Tensor) -> Gaussians:
        """The Gaussians at B times; `extra` [B, N, C] is all that is new in this trainer."""
        parts = (self.means.expand(len(times), -1, -1), times.view(-1, 1, 1).expand(-1, COUNT, 1), extra)
        return Gaussians(
            self.means + self.network(torch.cat(parts, dim=-1)),
            torch.tensor([1.0, 0, 0, 0]).expand(len(times), COUNT, 4),
            self.log_scales.exp().expand(len(times), -1, -1),
            torch.full((len(times), COUNT), 0.9),
            rgb_to_sh(self.colors)[:, None],
        )


def draw(gaussians: Gaussians, cameras: ds4d.Cameras) -> Rendering:
    """Every time in every view, on white; any splatter that also gives depths will do."""
    times = gaussians.means.shape[0]
    white = torch.ones(times, cameras.num_views, 3)
    return renderer_for("cpu").render(gaussians, cameras.expand_times(times), backgrounds=white)


def fit(
    images: Tensor, cameras: ds4d.Cameras, means: Tensor, views: ds4d.FrameFeatureCache | None, steps: int
) -> float:
    """Fits the model to the images [T, V, 3, H, W] and returns its PSNR; `views` are the clip's features, or none."""
    torch.manual_seed(0)
    model = TheirModel(means, FUSION.channels if views is not None else 0)
    tssf = ds4d.Tssf(FUSION, views.maps.shape[2]) if views is not None else None
    optimizer = torch.optim.Adam([*model.parameters(), *(tssf.parameters() if tssf is not None else ())], lr=3e-3)

    def at(times: Tensor) -> Gaussians:
        if views is None or tssf is None:
            return model(times, torch.zeros(len(times), COUNT, 0))
        points = model.means.expand(len(times), -1, -1)  # where to read: one set of centers per time
        return model(times, views.fuse(tssf, points, views.at(times)))

    for step in range(steps):
        if views is not None and step % FUSION.depth_every == 0:
            with torch.no_grad():  # what hides a point from a view: the object as it is now
                rendering = draw(at(TIMES), cameras)
                views.update_depths(torch.arange(FRAMES), torch.where(rendering.alphas > 0.5, rendering.depths, 0))
        frames = torch.randint(FRAMES, (2,))
        loss = (draw(at(TIMES[frames]), cameras).colors - images[frames]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(-10 * (draw(at(TIMES), cameras).colors - images).square().mean().log10())


def main(steps: int = 150) -> tuple[float, float]:
    """Fits without and with the features."""
    video = sample_video(SampleConfig(FRAMES, SIZE, supersampling=2))  # images and cameras: yours
    pairs = torch.cartesian_prod(torch.arange(FRAMES), torch.arange(video.num_views))
    images = video.gather(*pairs.T).composite(torch.ones(len(pairs), 3)).unflatten(0, (FRAMES, -1))
    cameras = video.cameras.at_time(0)
    means = surface_points(TIMES[[FRAMES // 2]], COUNT, seed=0)[0]

    maps = FilterBank(FilterBankConfig(stride=2))(images)  # or any extractor's: [T, V, C, h, w]
    features = ds4d.FrameFeatures(maps, torch.ones(FRAMES, video.num_views, dtype=torch.bool))
    views = ds4d.cache_features(features, TIMES, cameras, ds4d.DecouplingConfig(), FUSION)
    alone, helped = (fit(images, cameras, means, given, steps) for given in (None, views))
    print(f"PSNR after {steps} steps: {alone:.2f} dB, and {helped:.2f} dB with DSFD and TSSF")
    return alone, helped


if __name__ == "__main__":
    main()
