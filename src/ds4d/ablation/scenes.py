"""The scenes of an ablation: what is fitted, and the images that each fit is scored on."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.config import GenerateConfig
from ds4d.core import Progress, Stopwatch, check_ranges, report_progress
from ds4d.data import FolderConfig, PerturbationConfig, check_masks, load_views, perturb_views
from ds4d.evaluation import ProtocolConfig, evaluate, score_clips, score_scene, score_training_views
from ds4d.geometry import transform_cameras
from ds4d.io import unpremultiply
from ds4d.metrics import METRICS, score_view
from ds4d.pipeline import prepare
from ds4d.scene import BakedGaussians, Scene, render_rgba
from ds4d.training import StepDone
from ds4d.types import Frames, MultiViewVideo, Renderer

ScoredOn = Literal["held-out views", "a held-out generated view", "the input view"]

_TRAINING_SPLITS = ("front", "mv")


@dataclass(frozen=True)
class AblationScene:
    """One scene that every variant fits.

    Attributes:
        name: name of the data folder, and of the generated view that is held out.
        data: folder of multi-view frames.
        scored_on: images that fits are scored on: the views of transforms_test.json, one generated view that is left
            out of the fit, or the input view, which is fitted.
        perturbed: whether the training views besides the input view are perturbed as a generator's are.
        held_out: index of the view that is left out of the fit, or None.
        strength: factor of the perturbation's size (`ds4d.data.PerturbationConfig`); with 0, views are exact and have
            the loss weight of perturbed ones.
    """

    name: str
    data: Path
    scored_on: ScoredOn
    perturbed: bool = False
    held_out: int | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, strength="[0, 100]")


@dataclass(frozen=True)
class Score:
    """Quality and duration of one fit.

    Attributes:
        metrics: `ds4d.metrics.METRICS` on the scene's images, and `input_psnr`, the mean PSNR of the fitted input
            view, dB; NaN where nothing could be measured.
        seconds: duration of the fit with reading and initialization, without scoring. The first fit of a process takes
            longer because it compiles or loads kernels.
        num_gaussians: number of Gaussians at the end.
        not_computed: why further metrics that were asked for have no value, and what to do, by their name.
    """

    metrics: dict[str, float]
    seconds: float
    num_gaussians: int
    not_computed: dict[str, str] = field(default_factory=dict)


def find_scenes(
    folders: Sequence[Path], views: FolderConfig, *, perturb_views: bool = False, hold_out: bool = False
) -> list[AblationScene]:
    """The scenes in data folders.

    A folder with transforms_test.json is fitted on its splits front and mv and scored on test. For any other folder
    there is no ground truth but its own images: it is fitted as it is and scored on its input view; or, with
    `hold_out`, each of its generated views is left out of a fit in turn and scored.

    Args:
        folders: folders of views (see `ds4d.data.load_views`).
        views: settings for reading them.
        perturb_views: whether the training views besides the input view are perturbed, for folders with a test split.
        hold_out: whether generated views are held out, for folders without a test split.

    Raises:
        ValueError: a folder cannot be used, two have the same name, or an option applies to none of the folders.
    """
    scenes: list[AblationScene] = []
    for folder in folders:
        name = Path(os.path.realpath(folder)).name
        if (folder / "transforms_test.json").is_file():
            scenes.append(AblationScene(name, folder, "held-out views", perturb_views))
            _check_static_cameras(scenes[-1], load_training_views(scenes[-1], views))
            continue
        whole = AblationScene(name, folder, "the input view")
        video = load_training_views(whole, views)
        _check_static_cameras(whole, video)
        if hold_out and video.num_views == 1:
            raise ValueError(
                f"{folder} must have generated views besides the input view to hold out, got none. Drop --hold-out."
            )
        if hold_out:
            scenes += [_without(whole, view) for view in range(1, video.num_views)]
        else:
            scenes.append(whole)
    _check_options(scenes, perturb_views, hold_out)
    return scenes


def load_training_views(scene: AblationScene, views: FolderConfig) -> MultiViewVideo:
    """All training views of a scene, unperturbed and with the one that is held out.

    Raises:
        ValueError: the folder cannot be used; the message names the file.
    """
    if scene.scored_on == "held-out views":
        views = dataclasses.replace(views, splits=_TRAINING_SPLITS)
    return load_views(scene.data, views)


def fit_scene(
    scene: AblationScene,
    config: GenerateConfig,
    device: torch.device,
    further: Mapping[str, Sequence[str]] | None = None,
) -> Score:
    """Fits a scene and scores the result.

    Args:
        scene: scene to fit.
        config: all settings; `config.seed` also seeds the perturbation of views.
        device: device to work on.
        further: further metrics by the protocol that they are computed by (`ds4d.evaluation.metrics_by_protocol`).

    Raises:
        ValueError: the folder or the settings cannot be used.
        TrainingDiverged: a loss became NaN or infinite.
    """
    watch = Stopwatch()
    with watch("training"):
        video = load_training_views(scene, config.views)
        check_masks(video)
        trainer = prepare(_fitted_views(scene, video, config.seed), config, device)
        for event in trainer.run():
            if isinstance(event, StepDone):
                report_progress(Progress("training", event.step, event.total_steps))
    fitted = trainer.scene.bake()  # what a run saves, and what `ds4d eval` scores
    if scene.scored_on == "held-out views":
        metrics = evaluate(fitted, trainer.renderer, scene.data, "test").total
    else:
        metrics = score_against_view(fitted, trainer.renderer, video, scene.held_out or 0)
    more, not_computed = _further_metrics(further or {}, fitted, trainer.renderer, scene, video)
    metrics |= {"input_psnr": _input_psnr(fitted, trainer.renderer, trainer.video), **more}
    return Score(metrics, watch.seconds["training"], fitted.frames.num_gaussians, not_computed)


def without_view(video: MultiViewVideo, index: int) -> MultiViewVideo:
    """The video without one of its generated views.

    Args:
        video: video with more than the input view.
        index: index of the view to drop, at least 1.

    Raises:
        ValueError: there is no such view besides the input view.
    """
    if not 1 <= index < video.num_views:
        raise ValueError(
            f"without_view: index must be that of a view besides the input view, 1 to {video.num_views - 1}, got "
            f"{index}."
        )
    kept = [view for view in range(video.num_views) if view != index]
    return dataclasses.replace(
        video,
        frames=_SelectedViews(video.frames, kept),
        cameras=video.cameras[:, kept],
        valid=video.valid[:, kept],
        view_names=tuple(video.view_names[view] for view in kept),
        view_weights=video.view_weights[kept],
        pixel_weights=None if video.pixel_weights is None else video.pixel_weights[:, kept],
    )


def score_against_view(scene: Scene, renderer: Renderer, video: MultiViewVideo, index: int) -> dict[str, float]:
    """Scores of a scene against one view of a video, as 8-bit images (see `ds4d.metrics.score_view`).

    Args:
        scene: scene fitted in the world of the video's cameras.
        renderer: renderer for the scene's device.
        video: video with cameras in world space.
        index: index of the view.
    """
    return score_view(*_clip_of_view(scene, renderer, video, index))


def _clip_of_view(
    scene: Scene, renderer: Renderer, video: MultiViewVideo, index: int
) -> tuple[UInt8[np.ndarray, "T H W 4"], UInt8[np.ndarray, "T H W 4"]]:
    """True and rendered images of one view, straight alpha."""
    times = video.valid[:, index].nonzero().squeeze(1)
    cameras = transform_cameras(scene.world, video.cameras.select(times, torch.full_like(times, index)))
    truth = np.stack([unpremultiply(video.frames.read(time, index)) for time in times.tolist()])
    return truth, np.stack(list(render_rgba(scene, renderer, cameras, video.times[times])))


def _further_metrics(
    further: Mapping[str, Sequence[str]],
    scene: BakedGaussians,
    renderer: Renderer,
    of: AblationScene,
    video: MultiViewVideo,
) -> tuple[dict[str, float], dict[str, str]]:
    """The metrics by name, NaN where there is none, and why."""
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for protocol, names in further.items():
        asked = tuple(name for name in names if name not in METRICS)  # which every fit is scored by
        if not asked:
            continue
        config = ProtocolConfig(metrics=asked)
        if protocol == "tracks" and not (of.scored_on == "held-out views" and (of.data / "points.npy").is_file()):
            values |= dict.fromkeys(asked, math.nan)
            reasons |= dict.fromkeys(asked, f"{of.name} has no true points; give a folder with points.npy")
            continue
        if of.scored_on == "held-out views":
            scores = score_scene(protocol, scene, of.data, config, scene.device)
        else:
            clip = _clip_of_view(scene, renderer, video, of.held_out or 0)
            scores = score_clips(protocol, {of.scored_on: clip}, config, scene.device)
        values |= scores.values
        reasons |= scores.not_computed
    return values, reasons


class _SelectedViews:
    """The `Frames` of some views of a video."""

    def __init__(self, frames: Frames, views: Sequence[int]) -> None:
        self.num_times, self.num_views = frames.num_times, len(views)
        self.width, self.height = frames.width, frames.height
        self._frames, self._views = frames, views

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        return self._frames.read(time, self._views[view])


def _without(scene: AblationScene, view: int) -> AblationScene:
    return dataclasses.replace(
        scene, name=f"{scene.name}-view{view}", scored_on="a held-out generated view", held_out=view
    )


def _check_static_cameras(scene: AblationScene, video: MultiViewVideo) -> None:
    """With a moving camera, fits use no image features, and most variants would be the same."""
    if not video.cameras.is_static:
        raise ValueError(
            f"{scene.data} must have static cameras, got one that moves: image features are compared at fixed pixels. "
            "Leave the folder out."
        )


def _check_options(scenes: Sequence[AblationScene], perturb_views: bool, hold_out: bool) -> None:
    """Results are told apart by the names of their scenes, and an option without effect is a mistake."""
    names = [scene.name for scene in scenes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"data folders must have different names, got {twice[0]!r} twice. Rename one.")
    if perturb_views and not any(scene.perturbed for scene in scenes):
        raise ValueError(
            "--perturb-views needs a data folder with transforms_test.json, got none: without held-out views there is "
            "nothing to score. Drop --perturb-views."
        )
    if hold_out and not any(scene.held_out for scene in scenes):
        raise ValueError(
            "--hold-out needs a data folder without transforms_test.json, got none: their test views are held out "
            "anyway. Drop --hold-out."
        )


def _fitted_views(scene: AblationScene, video: MultiViewVideo, seed: int) -> MultiViewVideo:
    if scene.held_out is not None:
        return without_view(video, scene.held_out)
    if scene.perturbed:
        return perturb_views(video, _scaled(PerturbationConfig(), scene.strength), seed)
    return video


def _scaled(config: PerturbationConfig, factor: float) -> PerturbationConfig:
    sizes = ("warp_static", "warp_drift", "tint_static", "tint_drift", "blur")
    return dataclasses.replace(config, **{name: factor * getattr(config, name) for name in sizes})


def _input_psnr(scene: Scene, renderer: Renderer, video: MultiViewVideo) -> float:
    """Mean PSNR of the input view's images, dB, as in the metrics.json of a run."""
    only_input = torch.zeros_like(video.valid)
    only_input[:, 0] = video.valid[:, 0]
    return float(score_training_views(scene, renderer, dataclasses.replace(video, valid=only_input))[0])
