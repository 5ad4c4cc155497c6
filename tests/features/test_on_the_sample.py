"""Matching of filter bank features on a scene with known motion."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from ds4d.data.synthetic import SampleConfig, sample_video, surface_points
from ds4d.features import FeaturesConfig, extract_features
from ds4d.geometry import project_points
from ds4d.types import FrameFeatures, MultiViewVideo

STRIDE = 4
Image = tuple[int, int]  # time, view


@pytest.fixture(scope="module")
def video() -> MultiViewVideo:
    """Eight frames at the usual size, without antialiasing, which takes three times as long."""
    return sample_video(SampleConfig(frames=8, size=256, supersampling=1))


@pytest.fixture(scope="module")
def features(video: MultiViewVideo) -> FrameFeatures:
    return extract_features(video, FeaturesConfig(cached=False), torch.device("cpu"))


@pytest.fixture(scope="module")
def tracks(video: MultiViewVideo) -> tuple[Tensor, Tensor]:
    """Positions [T, V, N, 2] of surface points in cells (x, y), and whether they are visible, as no other is nearer."""
    pixels, depths = project_points(surface_points(video.times, 8000, seed=0), video.cameras)
    T, V = depths.shape[:2]
    width = video.frames.width // 4
    cells = (pixels / 4).long().clamp(0, width - 1)
    index = cells[..., 1] * width + cells[..., 0]
    nearest = torch.full((T, V, width**2), torch.inf).scatter_reduce(2, index, depths, "amin")
    return pixels / STRIDE, depths < nearest.gather(2, index) + 0.02


def coverage(video: MultiViewVideo, time: int, view: int) -> Tensor:
    """Fraction of each cell that the object covers."""
    alphas = video.gather(torch.tensor([time]), torch.tensor([view])).alphas
    return avg_pool2d(alphas, STRIDE)[0, 0]


def matched(
    video: MultiViewVideo, features: FrameFeatures, tracks: tuple[Tensor, Tensor], here: Image, there: Image
) -> tuple[float, float]:
    """Fraction of visible points whose nearest token elsewhere is within 2 cells of the truth, and by chance."""
    cells, visible = tracks
    points = (visible[here] & visible[there]).nonzero()[:300, 0]
    x, y = cells[here][points].long().unbind(-1)
    queries = features.maps[here][:, y, x].float().T
    candidates = (coverage(video, *there) >= 0.5).nonzero()
    tokens = features.maps[there][:, candidates[:, 0], candidates[:, 1]].float().T
    best = (normalize(queries, dim=1) @ normalize(tokens, dim=1).T).argmax(1)
    centers = candidates.flip(1) + 0.5
    distances = torch.cdist(cells[there][points], centers)
    hits = distances.gather(1, best[:, None]) <= 2
    return hits.float().mean().item(), (distances <= 2).float().mean().item()


@pytest.mark.parametrize(
    ("here", "there", "fraction"), [((0, 0), (1, 0), 0.7), ((3, 2), (5, 2), 0.55), ((2, 4), (4, 4), 0.55)]
)
def test_tokens_match_across_time(
    video: MultiViewVideo,
    features: FrameFeatures,
    tracks: tuple[Tensor, Tensor],
    here: Image,
    there: Image,
    fraction: float,
) -> None:
    hits, chance = matched(video, features, tracks, here, there)
    assert chance < 0.03
    assert hits > fraction


@pytest.mark.parametrize(
    ("here", "there", "fraction"),
    [
        ((0, 0), (0, 1), 0.4),
        ((3, 0), (3, 6), 0.4),
        ((6, 6), (6, 0), 0.4),
        ((5, 3), (5, 4), 0.1),
        ((5, 1), (5, 2), 0.05),
    ],
)
def test_tokens_match_across_neighboring_views(
    video: MultiViewVideo,
    features: FrameFeatures,
    tracks: tuple[Tensor, Tensor],
    here: Image,
    there: Image,
    fraction: float,
) -> None:
    """Most match 30 degrees apart; few match 60 degrees and another elevation apart, as in the last two cases."""
    hits, chance = matched(video, features, tracks, here, there)
    assert hits > fraction > 3 * chance
