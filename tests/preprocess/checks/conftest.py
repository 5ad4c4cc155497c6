"""Contexts of small videos in memory."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ds4d.io import Size, premultiply
from ds4d.io.tone_mapping import VideoColor
from ds4d.preprocess.checks import CheckContext, make_thumbnails
from ds4d.preprocess.crop import foreground_crop_box
from ds4d.preprocess.hidden import border_alphas
from ds4d.preprocess.matting import Mattes
from ds4d.preprocess.raw_video import VideoInfo
from ds4d.preprocess.stabilization import Stabilization


@pytest.fixture
def context() -> Callable[..., CheckContext]:
    """Makes the context of RGBA images, with the options of `make`."""

    def make(
        images: Sequence[np.ndarray],
        *,
        video: Sequence[np.ndarray] | None = None,
        method: str = "color",
        removed: Sequence[float] | None = None,
        size: int = 64,
        missing: int = 0,
        source_fps: float = 10.0,
        color: VideoColor | None = None,
        stabilization: Stabilization | None = None,
        must_stabilize: bool = False,
    ) -> CheckContext:
        mattes = [premultiply(image) for image in images]
        frames = video or [np.dstack((p[..., :3] + (255 - p[..., 3:]), np.full_like(p[..., 0], 255))) for p in mattes]
        height, width = mattes[0].shape[:2]
        info = VideoInfo(
            seconds=tuple(0.1 * time for time in range(len(mattes))),
            fps=10.0,
            source_fps=source_fps,
            size=Size(width, height),
            indices=tuple(range(len(mattes))),
            source_frames=len(mattes),
            missing=missing,
            color=color,
        )
        has_foreground = any(image[..., 3].any() for image in mattes)
        crop = foreground_crop_box(mattes, info.size, size, 0.85) if has_foreground else None
        white = [(frame[..., :3] > 247).all(axis=-1) for frame in frames] if method == "color" else []
        return CheckContext(
            info,
            make_thumbnails(frames),
            Mattes(mattes, method, white),
            tuple(removed or [0.0] * len(mattes)),
            crop,
            border_alphas(mattes),
            stabilization,
            must_stabilize,
        )

    return make


@pytest.fixture
def textured(disc, rng) -> Callable[[float], list[np.ndarray]]:
    """Makes discs with a texture of gray patches, blurred by a Gaussian of so many pixels."""

    def make(blur: float) -> list[np.ndarray]:
        patches = rng.integers(0, 255, (20, 25, 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(3, 2)
        colors = np.asarray(Image.fromarray(patches).filter(ImageFilter.GaussianBlur(blur)))
        return [np.dstack((colors, disc(50, 40, 34, size=(100, 80))[..., 3])) for _ in range(3)]

    return make


@pytest.fixture
def inverted() -> Callable[[np.ndarray], np.ndarray]:
    """Inverts the alpha of an image."""
    return lambda image: np.dstack((image[..., :3], 255 - image[..., 3]))
