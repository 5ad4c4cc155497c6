"""An early end of training: once images that are held out of it no longer come out better, further steps are left out.

The learning rates have not fallen to their last values then; the mean over the last steps takes the place of that.
"""

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from ds4d.metrics import psnr
from ds4d.scene import DynamicGaussians
from ds4d.training.depth_refresh import DepthRefresh
from ds4d.training.images import TrainingImages
from ds4d.training.ranks import Ranks
from ds4d.training.schedule import Schedule, TrainingConfig
from ds4d.types import MultiViewVideo, Renderer

_EVERY = 50  # steps between two looks at the held-out images
_PATIENCE = 2  # looks in a row without gain
_MOST_IMAGES = 16
_FRACTION = 1 / 16  # of the images, at most


class EarlyEnd:
    """Decides when training ends: after its last step, or earlier where the config has an `early_end_gain`.

    Args:
        scene: scene that is trained.
        images: training images of its video.
        renderer: renderer for the scene's device.
        config: settings of training.
        schedule: what each step trains on.
        depths: keeps the depth images that the scene reads up to date.
        ranks: this process among those that train the scene together; the first decides.

    Attributes:
        held_out: (time, view) pairs that no step must train on: true images, as generated views disagree, and none of
            the middle frame, which the static stage needs.
        end_step: number of steps after which training ends, as far as is known.
    """

    def __init__(
        self,
        scene: DynamicGaussians,
        images: TrainingImages,
        renderer: Renderer,
        config: TrainingConfig,
        schedule: Schedule,
        depths: DepthRefresh,
        ranks: Ranks,
    ) -> None:
        self._scene, self._images, self._video, self._renderer = scene, images, images.video, renderer
        self._depths, self._ranks = depths, ranks
        self._config, self._first_look = config, schedule.converging_step
        is_off = config.early_end_gain is None
        self.held_out = torch.zeros_like(self._video.valid) if is_off else _held_out(self._video)
        self.end_step = config.total_steps
        self._best, self._looks_without_gain = 0.0, 0

    def look(self, step: int) -> None:
        """Renders the held-out images after a step, counted from 1, if it is time to; they may end training soon."""
        total, since = self._config.total_steps, step - self._first_look
        is_open = self.end_step == total and step + self._config.averaged_steps < total
        if is_open and since > 0 and since % _EVERY == 0 and self.held_out.any():
            self._depths.update(self.held_out.any(1).nonzero().squeeze(1), step)
            self.add(step, self._ranks.from_first(self.score() if self._ranks.is_first else None))

    @torch.no_grad()
    def score(self) -> float:
        """Mean PSNR of the held-out images on white, dB."""
        device, frames = self._scene.device, self._video.frames
        times, views = self.held_out.nonzero(as_tuple=True)
        gaussians = self._scene.at(self._video.times[times].to(device))
        cameras = self._video.cameras.to(device)[times[:, None], views[:, None]]
        white = torch.ones(len(times), 1, 3, device=device)
        colors = self._renderer.render(gaussians, cameras, backgrounds=white).colors.flatten(0, 1)
        target = self._images.batch(times, views, frames.width, frames.height)
        return float(psnr(colors, target.composite(white[:, 0])).mean())

    def add(self, step: int, score: float) -> None:
        """Takes the score after a step into account."""
        if score >= self._best + (self._config.early_end_gain or 0.0):
            self._best, self._looks_without_gain = score, 0
        else:
            self._looks_without_gain += 1
        if self._looks_without_gain >= _PATIENCE:
            self.end_step = step + self._config.averaged_steps

    def state_dict(self) -> dict[str, Any]:
        """What the decision depends on; empty where training takes all steps."""
        if self._config.early_end_gain is None:
            return {}
        return {"best": self._best, "looks_without_gain": self._looks_without_gain, "end_step": self.end_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` has written."""
        if state:
            self._best, self._looks_without_gain = state["best"], state["looks_without_gain"]
            self.end_step = state["end_step"]


def _held_out(video: MultiViewVideo) -> Bool[Tensor, "T V"]:
    """Some of the true images, drawn alike for every seed of training."""
    is_true = video.valid & (video.view_weights >= 1)
    is_true[video.middle] = False
    found = is_true.nonzero()
    count = min(_MOST_IMAGES, int(_FRACTION * len(found)))
    chosen = found[torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:count]]
    held_out = torch.zeros_like(is_true)
    held_out[chosen[:, 0], chosen[:, 1]] = True
    return held_out
