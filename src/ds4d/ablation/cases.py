"""What an ablation fits, and the images that each fit is scored on."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.config import GenerateConfig
from ds4d.core import Progress, Stopwatch, report_progress
from ds4d.data import PerturbationConfig, ViewsConfig, check_masks, load_views, perturb_views
from ds4d.evaluation import evaluate, score_training_views
from ds4d.geometry import transform_cameras
from ds4d.metrics import score_view
from ds4d.pipeline import prepare
from ds4d.scene import Scene, draw_rgba
from ds4d.training import StepDone
from ds4d.types import Frames, MultiViewVideo, Renderer

ScoredOn = Literal["unseen views", "a held-out view", "the front view"]
MultiView = Literal["exact", "perturbed"]

_FITTED_SPLITS = ("front", "mv")


@dataclass(frozen=True)
class Case:
    """One clip that every row fits.

    Attributes:
        name: of the clip, and of the view that is held out.
        data: folder of the clip.
        scored_on: which images: `unseen views` are those of transforms_test.json, `a held-out view` is left out of
            the fit, `the front view` is fitted.
        mv: whether the views besides the front are fitted as they are (`exact`), or `perturbed` as a generator's are.
        held_out: index of the view that is left out of the fit, or None.
    """

    name: str
    data: Path
    scored_on: ScoredOn
    mv: MultiView = "exact"
    held_out: int | None = None


@dataclass(frozen=True)
class Score:
    """How good a fit is, and how long it took.

    Attributes:
        metrics: `ds4d.metrics.METRICS` on the case's images, and `input_psnr`, the mean PSNR of the fitted front
            view in dB; NaN where nothing could be measured.
        seconds: of the whole fit: reading, placement and optimisation, without scoring. The first fit of a process
            takes longer: it loads the kernels.
        num_gaussians: at the end.
    """

    metrics: dict[str, float]
    seconds: float
    num_gaussians: int


def find_cases(
    folders: Sequence[Path], views: ViewsConfig, *, mv: MultiView = "exact", hold_out: bool = False
) -> list[Case]:
    """What is fitted and scored of each folder.

    A folder with transforms_test.json is fitted to its splits front and mv and scored on test. Another has no truth
    but its own images: it is fitted as it is and scored on its front view, or, view by view, without one of its
    generated views and scored on that.

    Args:
        folders: of views (see `ds4d.data.load_views`).
        views: how they are read.
        mv: whether the views besides the front are perturbed, where there are unseen views to score.
        hold_out: whether views are held out, where there are no unseen ones.

    Raises:
        ValueError: a folder is unfit, two share a name, or a choice fits none of the folders.
    """
    cases: list[Case] = []
    for folder in folders:
        name = folder.resolve().name
        if (folder / "transforms_test.json").is_file():
            cases.append(Case(name, folder, "unseen views", mv))
            _check_still(cases[-1], load_case(cases[-1], views))
            continue
        whole = Case(name, folder, "the front view")
        video = load_case(whole, views)
        _check_still(whole, video)
        if hold_out and video.num_views == 1:
            raise ValueError(
                f"{folder} must have a view besides the front to hold out, got none. Leave --hold-out out."
            )
        if hold_out:
            cases += [_without(whole, view) for view in range(1, video.num_views)]
        else:
            cases.append(whole)
    _check_choices(cases, mv, hold_out)
    return cases


def load_case(case: Case, views: ViewsConfig) -> MultiViewVideo:
    """The clip of a case, every view of it, unperturbed.

    Raises:
        ValueError: the folder is unfit; the message names the file.
    """
    if case.scored_on == "unseen views":
        views = dataclasses.replace(views, splits=_FITTED_SPLITS)
    return load_views(case.data, views)


def fit_case(case: Case, config: GenerateConfig, device: torch.device) -> Score:
    """Fits a case and scores the result.

    Args:
        case: what is fitted.
        config: all settings; `config.seed` is that of the perturbed views, too.
        device: where to work.

    Raises:
        ValueError: the folder or the settings are unfit.
        TrainingDiverged: a loss became NaN or Inf.
    """
    watch = Stopwatch()
    with watch("fit"):
        video = load_case(case, config.views)
        check_masks(video)
        trainer = prepare(_fitted(case, video, config.seed), config, device)
        for event in trainer.run():
            if isinstance(event, StepDone):
                report_progress(Progress("fitting", event.step, event.total_steps))
    scene = trainer.scene.bake()  # what a run saves, and so what `ds4d eval` scores
    if case.scored_on == "unseen views":
        metrics = evaluate(scene, trainer.renderer, case.data, "test").total
    else:
        metrics = score_against_view(scene, trainer.renderer, video, case.held_out or 0)
    input_psnr = _input_psnr(scene, trainer.renderer, trainer.video)
    return Score({**metrics, "input_psnr": input_psnr}, watch.seconds["fit"], scene.frames.num_gaussians)


def without_view(video: MultiViewVideo, index: int) -> MultiViewVideo:
    """The clip as if one of its views had never been made.

    Args:
        video: with more views than the front.
        index: of the view, at least 1: the front is the real video.

    Raises:
        ValueError: there is no such view besides the front.
    """
    if not 1 <= index < video.num_views:
        raise ValueError(
            f"without_view: index must be that of a view besides the front, 1 to {video.num_views - 1}, got {index}."
        )
    kept = [view for view in range(video.num_views) if view != index]
    return dataclasses.replace(
        video,
        frames=_SomeViews(video.frames, kept),
        cameras=video.cameras[:, kept],
        valid=video.valid[:, kept],
        view_names=tuple(video.view_names[view] for view in kept),
        view_weights=video.view_weights[kept],
        pixel_weights=None if video.pixel_weights is None else video.pixel_weights[:, kept],
    )


def score_against_view(scene: Scene, renderer: Renderer, video: MultiViewVideo, index: int) -> dict[str, float]:
    """Scores of a scene against one view of a clip, as 8-bit images (see `ds4d.metrics.score_view`).

    Args:
        scene: fitted in the world of the clip's cameras.
        renderer: the splatter for the scene's device.
        video: with cameras in the user's world.
        index: of the view.
    """
    times = video.valid[:, index].nonzero().squeeze(1)
    cameras = transform_cameras(scene.world, video.cameras.select(times, torch.full_like(times, index)))
    truth = np.stack([_straight(video.frames.read(time, index)) for time in times.tolist()])
    return score_view(truth, np.stack(list(draw_rgba(scene, renderer, cameras, video.times[times]))))


class _SomeViews:
    """The `Frames` of some views of a clip."""

    def __init__(self, frames: Frames, views: Sequence[int]) -> None:
        self.num_times, self.num_views = frames.num_times, len(views)
        self.width, self.height = frames.width, frames.height
        self._frames, self._views = frames, views

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        return self._frames.read(time, self._views[view])


def _without(case: Case, view: int) -> Case:
    return dataclasses.replace(case, name=f"{case.name}-view{view}", scored_on="a held-out view", held_out=view)


def _check_still(case: Case, video: MultiViewVideo) -> None:
    """Where a camera moves, fits go without frame features, and most rows would be the same."""
    if not video.cameras.is_static:
        raise ValueError(
            f"{case.data} must be recorded by cameras that stand still, got one that moves: frame features are compared "
            "in place. Leave the folder out."
        )


def _check_choices(cases: Sequence[Case], mv: MultiView, hold_out: bool) -> None:
    """Results are told apart by the names of their cases, and a choice that nothing reads is a mistake."""
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the data folders must have names of their own, got {twice[0]!r} twice. Rename one.")
    if mv == "perturbed" and not any(case.mv == mv for case in cases):
        raise ValueError(
            "mv must be exact where no data folder holds transforms_test.json, got perturbed: "
            "there are no unseen views to score. Leave --mv out."
        )
    if hold_out and not any(case.held_out for case in cases):
        raise ValueError(
            "hold-out must not be set where every data folder holds transforms_test.json, whose views are not fitted "
            "anyway. Leave --hold-out out."
        )


def _fitted(case: Case, video: MultiViewVideo, seed: int) -> MultiViewVideo:
    """What the fit sees of the clip."""
    if case.held_out is not None:
        return without_view(video, case.held_out)
    if case.mv == "perturbed":
        return perturb_views(video, PerturbationConfig(), seed)
    return video


def _input_psnr(scene: Scene, renderer: Renderer, video: MultiViewVideo) -> float:
    """Mean PSNR of the front view's images, in dB, as the metrics.json of a run has it."""
    front = torch.zeros_like(video.valid)
    front[:, 0] = video.valid[:, 0]
    return float(score_training_views(scene, renderer, dataclasses.replace(video, valid=front))[0])


def _straight(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Color no longer multiplied by alpha, as files hold it."""
    colors, alphas = image[..., :3].astype(np.float64), image[..., 3:]
    straight = np.where(alphas > 0, colors * 255 / np.maximum(alphas, 1), 0)
    return np.concatenate((straight.clip(0, 255).round().astype(np.uint8), alphas), axis=-1)
