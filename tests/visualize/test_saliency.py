"""The saliency map against a scene with known moving parts, and its files."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ds4d.data.synthetic import SampleConfig, moving_mask, sample_video
from ds4d.decoupling import REFERENCES, DecouplingConfig
from ds4d.features import FeaturesConfig, FilterBankConfig, extract_features
from ds4d.geometry import frame_times, orbit_cameras
from ds4d.io import read_rgba
from ds4d.types import ArrayFrames, FrameFeatures, MultiViewVideo
from ds4d.visualize import OutputsConfig, saliency_map, write_saliency_map
from ds4d.visualize.saliency import LEGEND_HEIGHT

CPU = torch.device("cpu")
STRIDE, SIZE, FRAMES = 4, 64, 6
SHOWN = OutputsConfig(size=SIZE, sheet_size=SIZE, sheet_columns=3)


@pytest.fixture(scope="module")
def sample() -> MultiViewVideo:
    """The input view of eight frames, at the size at which the filters are used."""
    return sample_video(SampleConfig(frames=8, size=256, supersampling=2), ("front",))


@pytest.fixture(scope="module")
def features(sample: MultiViewVideo) -> FrameFeatures:
    return extract_features(sample, FeaturesConfig(cached=False), CPU)


@pytest.fixture
def crossing() -> MultiViewVideo:
    """A dark square that crosses the upper half of a gray image, above a static one; no colors anywhere."""
    rng = np.random.default_rng(0)
    images = np.full((FRAMES, 1, SIZE, SIZE, 4), 255, np.uint8)
    images[..., 36:60, 24:40, :3] = rng.integers(60, 200, (24, 16, 1))
    for time in range(FRAMES):
        images[time, 0, 8:24, 4 + 8 * time : 20 + 8 * time, :3] = 40
    camera = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=SIZE, height=SIZE)
    return MultiViewVideo(
        frames=ArrayFrames(images),
        cameras=camera.expand_times(FRAMES),
        valid=torch.ones(FRAMES, 1, dtype=torch.bool),
        times=frame_times(FRAMES),
        view_names=("front",),
        view_weights=torch.ones(1),
        duration=2.0,
    )


def area_under_roc(scores: Tensor, positive: Bool[Tensor, "..."]) -> float:
    """Chance that a positive scores above a negative."""
    negatives = scores[~positive].sort().values
    return torch.searchsorted(negatives, scores[positive]).float().mean().item() / len(negatives)


@pytest.mark.parametrize(("reference", "least"), [("middle+mean", 0.95), ("mean", 0.95), ("middle", 0.85)])
def test_saliency_of_the_sample_is_high_where_it_moves(
    sample: MultiViewVideo, features: FrameFeatures, reference: str, least: float
) -> None:
    """Over the cells of the object; a cell moves if a moving part covers it now or in the middle frame, the reference.

    With the reference `middle`, nothing moves in that frame.
    """
    fractions = saliency_map(features, DecouplingConfig(reference))  # ty: ignore[invalid-argument-type]
    assert fractions.shape == (8, 64, 64) and fractions.min() >= 0 and fractions.max() <= 1
    everything = torch.arange(8)
    alphas = sample.gather(everything, torch.zeros_like(everything)).alphas[:, 0]
    moving = torch.from_numpy(moving_mask(sample.cameras, sample.times))[:, 0].float()
    covered, moves = (avg_pool2d(part, STRIDE) >= 0.5 for part in (alphas, moving))
    covered, moves = covered | covered[sample.middle], moves | moves[sample.middle]
    saliency, moves = fractions[covered], moves[covered]
    assert 0.2 < moves.float().mean() < 0.8
    assert area_under_roc(saliency, moves) > least
    assert saliency[moves].median() > 10 * saliency[~moves].median()


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_static_video_has_no_saliency(features: FrameFeatures, reference: str) -> None:
    static = FrameFeatures(features.maps[:1].expand(4, -1, -1, -1, -1), features.valid[:1].expand(4, -1))
    assert saliency_map(static, DecouplingConfig(reference)).max() < 2e-3  # ty: ignore[invalid-argument-type]


def test_only_the_input_view_counts(features: FrameFeatures) -> None:
    twice = FrameFeatures(torch.cat((features.maps, features.maps.roll(3, 0)), dim=1), features.valid.expand(8, 2))
    assert torch.equal(saliency_map(twice, DecouplingConfig()), saliency_map(features, DecouplingConfig()))


def saliency_in(image: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
    """Distance from gray: all color in these images is saliency."""
    return image[..., 0].astype(int) - image[..., 2]


def decoded(path: Path) -> list[UInt8[np.ndarray, "H W 3"]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_video_is_colored_where_something_moves(crossing: MultiViewVideo, tmp_path: Path) -> None:
    config = FeaturesConfig(filters=FilterBankConfig(scales=(0.5, 1.5)), cached=False)
    fractions = saliency_map(extract_features(crossing, config, CPU), DecouplingConfig())
    paths = list(write_saliency_map(fractions, crossing, SHOWN, tmp_path))
    assert paths == [tmp_path / "saliency.mp4", tmp_path / "saliency.png"]
    with av.open(str(paths[0])) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(FRAMES / 2.0)  # as long as the input
    video = decoded(paths[0])
    assert len(video) == FRAMES
    for time, image in enumerate(video):
        assert image.shape == (SIZE, SIZE, 3)
        saliency = saliency_in(image)
        assert saliency[10:22, 6 + 8 * time : 18 + 8 * time].mean() > 50
        assert np.abs(saliency[40:56, 26:38]).mean() < 12
        before = crossing.frames.read(time, 0)[40:56, 26:38, :3].astype(int)
        assert np.abs(image[40:56, 26:38] - before).mean() < 12  # static parts look as in the video


def test_sheet_shows_the_input_above_its_saliency(crossing: MultiViewVideo, tmp_path: Path) -> None:
    fractions = torch.zeros(FRAMES, 16, 16)
    fractions[:, 9:15, 6:10] = 0.6  # as if the static square moved
    *_, path = write_saliency_map(fractions, crossing, SHOWN, tmp_path)
    saliency = saliency_in(read_rgba(path)[:-LEGEND_HEIGHT, :, :3])
    assert 3 * 24 * 16 * 0.9 < (saliency > 100).sum() < 3 * 26 * 18  # the square, in each of three columns
    assert np.abs(saliency[:SIZE]).max() <= 1


def test_background_stays_white(crossing: MultiViewVideo, tmp_path: Path) -> None:
    images = np.stack([crossing.frames.read(time, 0) for time in range(FRAMES)])[:, None]
    images[..., :20, :] = 0
    valid = crossing.valid.clone()
    valid[3] = False
    masked = replace(crossing, frames=ArrayFrames(images), valid=valid)
    path, _ = write_saliency_map(torch.ones(FRAMES, 16, 16), masked, SHOWN, tmp_path)
    for time, image in enumerate(decoded(path)):
        assert image[:, :16].min() > 245 and (image.min() > 245) == (time == 3)
        assert time == 3 or saliency_in(image[:, 24:]).mean() > 100


def test_a_video_without_any_motion_is_written(crossing: MultiViewVideo, tmp_path: Path) -> None:
    *_, path = write_saliency_map(torch.zeros(FRAMES, 16, 16), crossing, SHOWN, tmp_path)
    assert np.abs(saliency_in(read_rgba(path)[:-LEGEND_HEIGHT, :, :3])).max() <= 1


def test_legend_goes_from_gray_over_red_to_yellow(crossing: MultiViewVideo, tmp_path: Path) -> None:
    *_, path = write_saliency_map(torch.zeros(FRAMES, 16, 16), crossing, SHOWN, tmp_path)
    legend = read_rgba(path)[-LEGEND_HEIGHT:, :, :3]
    colored = legend[LEGEND_HEIGHT // 2, saliency_in(legend)[LEGEND_HEIGHT // 2] > 2].astype(int)
    assert len(colored) > 80 and (np.diff(saliency_in(colored)) >= 0).all()
    assert colored[-1, :2].min() > 200 and colored[-1, 2] < 60  # yellow
    assert colored[len(colored) // 2, 0] > colored[len(colored) // 2, 1] + 20  # reddish
