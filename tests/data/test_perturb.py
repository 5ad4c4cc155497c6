"""Perturbed views: the input view is unchanged, the others differ by as much as the settings say."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float, UInt8

from ds4d.data import PerturbationConfig, perturb_views
from ds4d.data.perturb import PerturbedFrames
from ds4d.geometry import frame_times
from ds4d.types import ArrayFrames, Frames, MultiViewVideo

NOTHING = PerturbationConfig(warp_static=0.0, warp_drift=0.0, tint_static=0.0, tint_drift=0.0, blur=0.0)
SPACING = 32  # pixels of an image 256 high between the dots of a pattern
Displacements = Float[np.ndarray, "T V row column 2"]


class Constant:
    """The same image at every time and in every view."""

    def __init__(self, image: UInt8[np.ndarray, "H W 4"], times: int, views: int) -> None:
        self.num_times, self.num_views = times, views
        self.height, self.width = image.shape[:2]
        self.image = image

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        return self.image


def perturbed(frames: Frames, seed: int = 0, **sizes: float) -> PerturbedFrames:
    """Frames with those perturbations that are named, and no others."""
    return PerturbedFrames(frames, frame_times(frames.num_times), replace(NOTHING, **sizes), seed)


def pattern(height: int = 256) -> UInt8[np.ndarray, "H W 4"]:
    """Round dots in the middle of squares: the color is black, so alpha alone tells where they are."""
    spacing = SPACING * height // 256
    offsets = np.arange(height) % spacing + 0.5 - spacing / 2
    profile = np.exp(-0.5 * (offsets / (spacing / 12)) ** 2)
    image = np.zeros((height, height, 4), np.uint8)
    image[..., 3] = np.round(255 * profile[:, None] * profile)
    return image


def displacements(frames: PerturbedFrames) -> Displacements:
    """Displacement (x, y) of each dot of the pattern in pixels, without those at the border."""
    spacing = SPACING * frames.height // 256
    offsets = np.arange(spacing) + 0.5 - spacing / 2
    found = []
    for time in range(frames.num_times):
        for view in range(1, frames.num_views):
            alpha = frames.read(time, view)[..., 3].astype(float)
            squares = alpha.reshape(frames.height // spacing, spacing, -1, spacing).transpose(0, 2, 1, 3)[1:-1, 1:-1]
            mass = squares.sum((2, 3))
            x, y = (squares.sum(2) * offsets).sum(-1) / mass, (squares.sum(3) * offsets).sum(-1) / mass
            found.append(np.stack((x, y), -1))
    return np.stack(found).reshape(frames.num_times, frames.num_views - 1, *found[0].shape)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of values whose mean is known to be 0."""
    return float((a * b).mean() / (rms(a) * rms(b)))


@pytest.fixture(scope="module")
def noise() -> ArrayFrames:
    """Premultiplied noise of three times and four views, wider than high."""
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 48, 64, 4), dtype=np.uint8)
    images[..., :3] = np.minimum(images[..., :3], images[..., 3:])
    return ArrayFrames(images)


def test_the_input_view_and_its_weight_are_unchanged(quick_video: MultiViewVideo) -> None:
    perturbed_video = perturb_views(quick_video, PerturbationConfig(view_weight=0.3), 0)
    for time in range(quick_video.num_times):
        assert np.array_equal(perturbed_video.frames.read(time, 0), quick_video.frames.read(time, 0))
        for view in range(1, quick_video.num_views):
            assert not np.array_equal(perturbed_video.frames.read(time, view), quick_video.frames.read(time, view))
    assert perturbed_video.view_weights.tolist() == pytest.approx([1.0] + [0.3] * 6)
    assert quick_video.view_weights.tolist() == [1.0] * 7  # the exact video is unchanged
    assert perturbed_video.cameras is quick_video.cameras and perturbed_video.view_names == quick_video.view_names


def test_zero_strength_changes_nothing(noise: ArrayFrames) -> None:
    same = perturbed(noise)
    for time, view in np.ndindex(3, 4):
        assert np.array_equal(same.read(time, view), noise.read(time, view))


def test_images_depend_on_the_seed_and_not_on_the_order_of_reading(noise: ArrayFrames) -> None:
    config, times = PerturbationConfig(), frame_times(3)
    pairs = list(np.ndindex(3, 4))
    first, again, other = (PerturbedFrames(noise, times, config, seed) for seed in (5, 5, 6))
    forwards = [first.read(*pair) for pair in pairs]
    backwards = [again.read(*pair) for pair in reversed(pairs)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    differs = [not np.array_equal(other.read(*pair), a) for pair, a in zip(pairs, forwards, strict=True)]
    assert differs == [view > 0 for _, view in pairs]


def test_the_errors_of_views_are_independent() -> None:
    found = displacements(perturbed(Constant(pattern(), 1, 9), warp_static=2.0))[0]
    products = np.einsum("vrcd,wrcd->vw", found, found)
    lengths = np.sqrt(np.diag(products))
    assert np.abs(products / lengths / lengths[:, None] - np.eye(8)).max() < 0.75
    assert abs(np.median(products[~np.eye(8, dtype=bool)] / np.median(lengths) ** 2)) < 0.2


def test_images_stay_premultiplied(noise: ArrayFrames) -> None:
    perturbed_video = perturbed(noise, warp_static=3.0, warp_drift=2.0, tint_static=0.5, tint_drift=0.5, blur=2.0)
    images = np.stack([perturbed_video.read(time, view) for time, view in np.ndindex(3, 4)])
    assert images.dtype == np.uint8 and images.shape == (12, 48, 64, 4)
    assert (images[..., :3] <= images[..., 3:]).all()
    assert (images[..., 3] > images[..., :3].max(-1)).any()  # the colors are not just clamped


def test_static_warps_have_the_given_strength_and_correlation_length() -> None:
    found = displacements(perturbed(Constant(pattern(), 2, 41), warp_static=2.0, warp_correlation=48.0))
    assert np.array_equal(found[0], found[1])
    assert rms(found[..., 0]) == pytest.approx(2.0, rel=0.1)
    assert rms(found[..., 1]) == pytest.approx(2.0, rel=0.1)
    assert abs(correlation(found[..., 0], found[..., 1])) < 0.1
    for cells in (1, 2, 4):
        expected = math.exp(-0.5 * (cells * SPACING / 48.0) ** 2)
        assert correlation(found[:, :, cells:], found[:, :, :-cells]) == pytest.approx(expected, abs=0.1)
        assert correlation(found[:, :, :, cells:], found[:, :, :, :-cells]) == pytest.approx(expected, abs=0.1)


def test_drifting_warps_have_the_given_strength_and_correlation_length() -> None:
    found = displacements(perturbed(Constant(pattern(), 5, 31), warp_drift=1.5, drift_correlation=0.25))
    assert all(rms(frame) == pytest.approx(1.5, rel=0.12) for frame in found)
    for steps in (1, 2, 4):
        expected = math.exp(-0.5 * (steps * 0.25 / 0.25) ** 2)
        assert correlation(found[steps:], found[:-steps]) == pytest.approx(expected, abs=0.12)


def test_static_and_drifting_warps_add_up() -> None:
    frames = Constant(pattern(), 3, 4)
    both = displacements(perturbed(frames, warp_static=2.0, warp_drift=1.0))
    apart = displacements(perturbed(frames, warp_static=2.0)) + displacements(perturbed(frames, warp_drift=1.0))
    assert np.abs(both - apart).max() < 0.5  # they are sampled at positions that they themselves shift
    assert rms(both - apart) < 0.1


def test_lengths_scale_with_the_image() -> None:
    large, small = (displacements(perturbed(Constant(pattern(h), 1, 6), warp_static=2.0)) for h in (256, 128))
    assert rms(large - 2 * small) < 0.15
    assert rms(large) > 1.5


def test_tints_have_the_given_strength() -> None:
    """On uniform gray, which no warp changes; the resolution of 8 bits is a fifth of a percent."""
    gray = np.full((8, 8, 4), (120, 120, 120, 255), np.uint8)
    for sizes, constant in (({"tint_static": 0.05}, True), ({"tint_drift": 0.03}, False)):
        perturbed_video = perturbed(Constant(gray, 3, 121), **sizes)
        images = np.stack([[perturbed_video.read(time, view) for view in range(1, 121)] for time in range(3)])
        assert (images == images[..., :1, :1, :]).all() and (images[..., 3] == 255).all()
        logs = np.log(images[..., 0, 0, :3] / 120)
        (size,) = sizes.values()
        assert rms(logs) == pytest.approx(size, rel=0.08)
        assert np.abs(np.corrcoef(logs[0].T) - np.eye(3)).max() < 0.25  # the channels are independent
        in_time = correlation(logs[1:], logs[:-1])
        assert in_time == pytest.approx(1.0 if constant else math.exp(-0.5 * (0.5 / 0.25) ** 2), abs=0.1)


def test_the_blur_of_views_is_uniform_up_to_the_largest() -> None:
    frames = perturbed(Constant(pattern(), 2, 41), blur=4.0)
    window = slice(96, 128)
    offsets = np.arange(32) + 0.5 - 16

    def variance(image: np.ndarray) -> float:
        profile = image[window, window, 3].astype(float).sum(0)
        return float((profile * offsets**2).sum() / profile.sum())

    sharp = variance(pattern())
    sigmas = [math.sqrt(max(0.0, variance(frames.read(0, view)) - sharp)) for view in range(1, 41)]
    assert all(np.array_equal(frames.read(0, view), frames.read(1, view)) for view in (1, 2))
    # Uniform in [0, 4]; the widest lose what is outside the window.
    assert min(sigmas) < 0.5 and 3.2 < max(sigmas) < 4.0
    assert np.mean(sigmas) == pytest.approx(2.0, abs=0.4)


def test_a_perturbed_video_is_read_as_any_other(quick_video: MultiViewVideo) -> None:
    perturbed_video = perturb_views(quick_video, PerturbationConfig(), 0)
    batch = perturbed_video.gather(torch.tensor([0, 1]), torch.tensor([0, 3]))
    truth = quick_video.gather(torch.tensor([0, 1]), torch.tensor([0, 3]))
    assert torch.equal(batch.images[0], truth.images[0])
    assert 0.002 < (batch.images[1] - truth.images[1]).abs().mean() < 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("warp_static", -1.0),
        ("blur", -0.1),
        ("warp_correlation", 0.0),
        ("drift_correlation", 0.0),
        ("view_weight", 0.0),
        ("view_weight", 1.1),
    ],
)
def test_settings_outside_their_ranges_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        PerturbationConfig(**{name: value})
