"""CheckContext about small videos, made in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ds4d.io import premultiply
from ds4d.io.sizes import Size
from ds4d.preprocess.checks import CheckContext
from ds4d.preprocess.framing import frame_clip
from ds4d.preprocess.matting.mattes import Mattes
from ds4d.preprocess.raw_video import RawVideo


@pytest.fixture
def context() -> Callable[..., CheckContext]:
    """Makes evidence of RGBA images: (cut, *, video, way, left_out, size, lost); the video on white if not given."""

    def make(
        cut: Sequence[np.ndarray],
        *,
        video: Sequence[np.ndarray] | None = None,
        way: str = "color",
        left_out: Sequence[float] | None = None,
        size: int = 64,
        lost: int = 0,
    ) -> CheckContext:
        images = [premultiply(image) for image in cut]
        shown = video or [np.dstack((p[..., :3] + (255 - p[..., 3:]), np.full_like(p[..., 0], 255))) for p in images]
        height, width = images[0].shape[:2]
        raw_video = RawVideo(
            images=list(shown),
            seconds=tuple(0.1 * time for time in range(len(images))),
            fps=10.0,
            size=Size(width, height),
            source_frames=len(images),
            lost=lost,
        )
        seen = any(image[..., 3].any() for image in images)
        framing = frame_clip(images, raw_video.size, size, 0.85) if seen else None
        return CheckContext(raw_video, Mattes(images, way), tuple(left_out or [0.0] * len(images)), framing)

    return make


@pytest.fixture
def turned_alpha() -> Callable[[np.ndarray], np.ndarray]:
    """The image with its alpha inverted."""
    return lambda image: np.dstack((image[..., :3], 255 - image[..., 3]))


@pytest.fixture
def later() -> Callable[[CheckContext, Sequence[float]], CheckContext]:
    """The evidence with other times."""
    return lambda given, seconds: replace(given, video=replace(given.video, seconds=tuple(seconds)))
