"""Evidence about small films, made in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ds4d.io import premultiply
from ds4d.io.sizes import Size
from ds4d.preprocess.checks import Evidence
from ds4d.preprocess.framing import frame_clip
from ds4d.preprocess.matting.mattes import CutOut
from ds4d.preprocess.raw_video import Footage


@pytest.fixture
def evidence() -> Callable[..., Evidence]:
    """Makes evidence of RGBA pictures: (cut, *, film, way, left_out, size, lost); the film on white if not given."""

    def make(
        cut: Sequence[np.ndarray],
        *,
        film: Sequence[np.ndarray] | None = None,
        way: str = "color",
        left_out: Sequence[float] | None = None,
        size: int = 64,
        lost: int = 0,
    ) -> Evidence:
        pictures = [premultiply(picture) for picture in cut]
        shown = film or [np.dstack((p[..., :3] + (255 - p[..., 3:]), np.full_like(p[..., 0], 255))) for p in pictures]
        height, width = pictures[0].shape[:2]
        footage = Footage(
            pictures=list(shown),
            seconds=tuple(0.1 * time for time in range(len(pictures))),
            fps=10.0,
            size=Size(width, height),
            film_frames=len(pictures),
            lost=lost,
        )
        seen = any(picture[..., 3].any() for picture in pictures)
        framing = frame_clip(pictures, footage.size, size, 0.85) if seen else None
        return Evidence(footage, CutOut(pictures, way), tuple(left_out or [0.0] * len(pictures)), framing)

    return make


@pytest.fixture
def turned_alpha() -> Callable[[np.ndarray], np.ndarray]:
    """The picture with its alpha inverted."""
    return lambda picture: np.dstack((picture[..., :3], 255 - picture[..., 3]))


@pytest.fixture
def later() -> Callable[[Evidence, Sequence[float]], Evidence]:
    """The evidence with other times."""
    return lambda given, seconds: replace(given, film=replace(given.film, seconds=tuple(seconds)))
