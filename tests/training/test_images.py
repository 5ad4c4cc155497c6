"""Training images at the sizes of the stages: the kernel on the CPU averages as tensor operations do."""

import pytest
import torch
from torch.nn import functional as F

from ds4d.training.images import TrainingImages
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.mark.parametrize("divisor", [1, 2, 4])
def test_images_are_area_averages_of_the_frames(quick_video: MultiViewVideo, divisor: int) -> None:
    frames = quick_video.frames
    times, views = torch.tensor([2, 0, 1]), torch.tensor([1, 1, 0])
    width, height = frames.width // divisor, frames.height // divisor
    full = quick_video.gather(times, views)
    expected = F.interpolate(torch.cat((full.images, full.alphas), dim=1), size=(height, width), mode="area")
    for cache_bytes in (2 << 30, 0):  # from the bytes that are kept, and from the frames
        batch = TrainingImages(quick_video, CPU, cache_bytes).batch(times, views, width, height)
        found = torch.cat((batch.images, batch.alphas), dim=1)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_sizes_that_are_no_whole_fraction_are_averaged_too(quick_video: MultiViewVideo) -> None:
    frames = quick_video.frames
    width, height = frames.width // 2 + 1, frames.height // 2 + 1
    batch = TrainingImages(quick_video, CPU, 2 << 30).batch(torch.tensor([1]), torch.tensor([0]), width, height)
    assert batch.images.shape == (1, 3, height, width)
    assert float(batch.images.max()) <= 1
