"""Scores of a scene: on the images that it was fitted to, and on held-out views."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.core import release_pages, tracked
from ds4d.data import TransformsFrame, read_transforms
from ds4d.geometry import transform_cameras
from ds4d.io import read_rgba
from ds4d.metrics import Lpips, average_views, psnr, score_view
from ds4d.scene import Scene, render_rgba
from ds4d.types import Cameras, MultiViewVideo, Renderer

_BATCH = 16  # training images scored at once


@dataclass(frozen=True)
class Evaluation:
    """Scores of a scene on held-out views.

    Attributes:
        total: mean over the views of each of `ds4d.metrics.METRICS`, and of `lpips` if its network is given; NaN where
            nothing could be measured.
        views: the same scores for each view, by its name.
        images: number of scored images.
    """

    total: dict[str, float]
    views: dict[str, dict[str, float]]
    images: int


def render_frames(
    scene: Scene, renderer: Renderer, frames: Sequence[TransformsFrame]
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """Renders the scene at the camera, size and time of each frame of a transforms file, in the file's order.

    Args:
        scene: scene fitted in the world of the file.
        renderer: renderer for the scene's device.
        frames: frames of the file.

    Yields:
        One image per frame, straight alpha.
    """
    for (width, height), alike in groupby(frames, key=lambda frame: (frame.width, frame.height)):
        group = list(alike)
        viewmats = torch.stack([frame.viewmat for frame in group])[:, None]
        Ks = torch.stack([frame.K for frame in group])[:, None]
        cameras = transform_cameras(scene.world, Cameras(viewmats, Ks, width, height))
        yield from render_rgba(scene, renderer, cameras, torch.tensor([frame.time for frame in group]))


def evaluate(scene: Scene, renderer: Renderer, data: Path, split: str, *, lpips: Lpips | None = None) -> Evaluation:
    """Scores the scene on the images of transforms_<split>.json.

    Frames with the same `view` are scored as one video in the order of their times; a frame without a view is scored on
    its own.

    Args:
        scene: scene fitted in the world of the file.
        renderer: renderer for the scene's device.
        data: folder of the transforms file and its images.
        split: name of the split.
        lpips: network to score with in addition, on the device that it runs on.

    Raises:
        ValueError: the file, or an image that it names, is missing or cannot be used.
    """
    path = data / f"transforms_{split}.json"
    views = _frames_by_view(read_transforms(path))
    scores = {}
    for name, frames in tracked(views.items(), "scoring the views"):
        truth = _read_images(frames, path, name)
        scores[name] = score_view(truth, render_frames(scene, renderer, frames), lpips=lpips)
    return Evaluation(average_views(list(scores.values())), scores, sum(map(len, views.values())))


def score_training_views(scene: Scene, renderer: Renderer, video: MultiViewVideo) -> Float[Tensor, " V"]:
    """Mean PSNR on white of each view's images, dB; NaN for a view without images; see `score_training_images`."""
    return score_training_images(scene, renderer, video).nanmean(0)


def score_training_images(scene: Scene, renderer: Renderer, video: MultiViewVideo) -> Float[Tensor, "T V"]:
    """PSNR on white of each training image, dB; NaN where a view has none.

    Args:
        scene: fitted scene.
        renderer: renderer for the scene's device.
        video: training views, with cameras in normalized space.
    """
    scores = torch.full((video.num_times, video.num_views), math.nan)
    for pairs in tracked(video.valid.nonzero().split(_BATCH), "scoring the training views"):
        times, views = pairs.unbind(1)
        with torch.no_grad():
            gaussians = scene.at(video.times[times].to(scene.device))
            rendering = renderer.render(gaussians, video.cameras.select(times, views).to(scene.device))
        colors = (rendering.colors + (1 - rendering.alphas)).squeeze(1).clamp(0, 1).cpu()
        truth = video.gather(times, views).composite(torch.ones(len(times), 3))
        scores[times, views] = psnr(colors, truth)
        release_pages()
    return scores


def _frames_by_view(frames: Sequence[TransformsFrame]) -> dict[str, list[TransformsFrame]]:
    """Frames of each view in temporal order; a frame without a view is a view of its own, named by its file."""
    views: dict[str, list[TransformsFrame]] = {}
    for frame in frames:
        views.setdefault(frame.file_path if frame.view is None else frame.view, []).append(frame)
    return {name: sorted(found, key=lambda frame: frame.time) for name, found in views.items()}


def _read_images(frames: Sequence[TransformsFrame], path: Path, view: str) -> UInt8[np.ndarray, "T H W 4"]:
    """The true images of one view."""
    images = [read_rgba(frame.image) for frame in frames]
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"{path}: the images of view {view!r} must share one size, got {sorted(sizes)}. Resize them.")
    return np.stack(images)
