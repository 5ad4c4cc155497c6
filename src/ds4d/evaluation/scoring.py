"""How good a scene is: against the images it was fitted to, and against views it has never seen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.core import tracked
from ds4d.data import TransformsFrame, read_transforms
from ds4d.geometry import transform_cameras
from ds4d.io import read_rgba
from ds4d.metrics import Lpips, average_views, psnr, score_lpips, score_view
from ds4d.scene import Scene, draw_rgba
from ds4d.types import Cameras, MultiViewVideo, Renderer

_BATCH = 16  # training images scored at once


@dataclass(frozen=True)
class Evaluation:
    """Scores of a scene on views it was not fitted to.

    Attributes:
        total: `ds4d.metrics.METRICS`, and `lpips` where its network is at hand; means over the views, NaN where nothing
            could be measured.
        views: the same for each view.
        images: how many images were scored.
    """

    total: dict[str, float]
    views: dict[str, dict[str, float]]
    images: int


def render_frames(
    scene: Scene, renderer: Renderer, frames: Sequence[TransformsFrame]
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """What each frame of a transforms file shows, at its camera, size and time: straight alpha, in the file's order."""
    for (width, height), alike in groupby(frames, key=lambda frame: (frame.width, frame.height)):
        group = list(alike)
        viewmats = torch.stack([frame.viewmat for frame in group])[:, None]
        Ks = torch.stack([frame.K for frame in group])[:, None]
        cameras = transform_cameras(scene.world, Cameras(viewmats, Ks, width, height))
        yield from draw_rgba(scene, renderer, cameras, torch.tensor([frame.time for frame in group]))


def evaluate(scene: Scene, renderer: Renderer, data: Path, split: str, *, lpips: Lpips | None = None) -> Evaluation:
    """Scores the scene on the images of transforms_<split>.json.

    Frames with the same `view` are scored as one clip, in the order of their times; frames without one, each by itself.

    Args:
        scene: fitted in the world of the files.
        renderer: the splatter for the scene's device.
        data: folder of the transforms file and its images.
        split: name of the transforms file.
        lpips: to be scored with, too.

    Raises:
        ValueError: the file, or an image it names, is missing or unfit; the message names it.
    """
    path = data / f"transforms_{split}.json"
    clips = _clips(read_transforms(path))
    views = {}
    for name, frames in tracked(clips.items(), "scoring the views"):
        truth = _stack([read_rgba(frame.image) for frame in frames], path, name)
        rendered = _stack(list(render_frames(scene, renderer, frames)), path, name)
        views[name] = score_view(truth, rendered)
        if lpips is not None:
            views[name]["lpips"] = score_lpips(truth, rendered, lpips)
    return Evaluation(average_views(list(views.values())), views, sum(map(len, clips.values())))


def score_training_views(scene: Scene, renderer: Renderer, video: MultiViewVideo) -> Float[Tensor, " V"]:
    """Mean PSNR on white of every view's images, in dB; NaN for a view without any. Arguments as of the next one."""
    return score_training_images(scene, renderer, video).nanmean(0)


def score_training_images(scene: Scene, renderer: Renderer, video: MultiViewVideo) -> Float[Tensor, "T V"]:
    """PSNR on white of every image, in dB; NaN where a view has none.

    Args:
        scene: what was fitted.
        renderer: the splatter for the scene's device.
        video: what it was fitted to, with cameras in the inner world.
    """
    scores = torch.full((video.num_times, video.num_views), math.nan)
    for pairs in tracked(video.valid.nonzero().split(_BATCH), "scoring the training views"):
        times, views = pairs.unbind(1)
        with torch.no_grad():
            gaussians = scene.at(video.times[times].to(scene.device))
            drawn = renderer.render(gaussians, video.cameras.select(times, views).to(scene.device))
        colors = (drawn.colors + (1 - drawn.alphas)).squeeze(1).clamp(0, 1).cpu()
        truth = video.gather(times, views).composite(torch.ones(len(times), 3))
        scores[times, views] = psnr(colors, truth)
    return scores


def _clips(frames: Sequence[TransformsFrame]) -> dict[str, list[TransformsFrame]]:
    """Frames by view, in time; a frame without a view is a clip of its own, named by its file."""
    clips: dict[str, list[TransformsFrame]] = {}
    for frame in frames:
        clips.setdefault(frame.file_path if frame.view is None else frame.view, []).append(frame)
    return {name: sorted(clip, key=lambda frame: frame.time) for name, clip in clips.items()}


def _stack(images: list[UInt8[np.ndarray, "_ _ 4"]], path: Path, view: str) -> UInt8[np.ndarray, "T H W 4"]:
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"{path}: the images of view {view!r} must share one size, got {sorted(sizes)}. Resize them.")
    return np.stack(images)
