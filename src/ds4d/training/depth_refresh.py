"""Depth images for the occlusion test of the fusion: taken from what training renders, rendered where they are old."""

import torch
from torch import Tensor

from ds4d.core import release_pages
from ds4d.scene import DynamicGaussians, depth_images, render_depths
from ds4d.training.ranks import Ranks, Share
from ds4d.training.sampling import SampleBatch
from ds4d.types import MultiViewVideo, Renderer, Rendering

_NEVER = -(2**40)  # a step so long ago that everything of it is outdated
_AT_ONCE = 16  # frames whose depth images are rendered before they are stored


class DepthRefresh:
    """Keeps the depth images of a scene's frame features up to date, where its fusion needs them.

    Args:
        scene: scene whose features hold the depth images.
        video: multi-view video it is trained on.
        renderer: renderer for the scene's device.
        ranks: this process among those that train the scene together.

    Attributes:
        steps: step at which each depth image [T, V] was rendered.
    """

    def __init__(self, scene: DynamicGaussians, video: MultiViewVideo, renderer: Renderer, ranks: Ranks) -> None:
        self._scene, self._valid, self._renderer, self._ranks = scene, video.valid, renderer, ranks
        self.steps = torch.full_like(video.valid, _NEVER, dtype=torch.int64)

    def update(self, frames: Tensor, step: int) -> None:
        """Renders the outdated depth images among these frames, which the fusion reads next.

        Args:
            frames: frame indices, on the CPU.
            step: current step.
        """
        motion = self._scene.motion
        if motion is None or motion.tssf is None or motion.features is None or not motion.tssf.config.needs_depths:
            return
        is_outdated = self._valid & (self.steps <= step - motion.tssf.config.depth_every)
        outdated = frames[is_outdated[frames].any(1)]
        for some in outdated.split(_AT_ONCE) if len(outdated) else ():
            rows = some.to(self._scene.device)
            motion.features.update_depths(rows, render_depths(self._scene, self._renderer, rows))
            self.steps[some] = step
            release_pages()

    def keep(self, batch: SampleBatch, share: Share, on_device: SampleBatch, rendering: Rendering, step: int) -> None:
        """Replaces the depth images of the views that a dynamic step has rendered: none has to be rendered for them.

        Args:
            batch: images of the step.
            share: what this process has rendered of it.
            on_device: the batch of the share on the device.
            rendering: its renderings.
            step: current step.
        """
        motion = self._scene.motion
        if motion is None or motion.features is None or motion.features.depths is None:
            return
        height, width = motion.features.depths.shape[-2:]
        depths = depth_images(rendering, width, height)
        if self._ranks.count > 1:
            of_all = depths.new_zeros(*batch.views.shape, 1, height, width)
            if share.part:
                of_all[share.times, share.views] = depths
            self._ranks.add_up([of_all])
            depths, on_device = of_all, batch.on(self._scene.device)
        motion.features.update_depths(on_device.times, depths, on_device.views)
        self.steps[batch.times[:, None], batch.views] = step
