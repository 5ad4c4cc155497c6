"""The training images of a clip at the fit's sizes, on the fit's device where they fit."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.types import FrameBatch, MultiViewVideo


class TrainingImages:
    """Hands out images of (time, view) pairs at any of the fit's sizes.

    Clips below the budget are kept on the device as 8-bit RGBA; longer ones are read frame by frame through the clip's
    own bounded cache, so memory does not grow with the clip.
    """

    def __init__(self, video: MultiViewVideo, device: torch.device, budget_bytes: int) -> None:
        self.video = video
        self.device = device
        frames = video.frames
        total = frames.num_times * frames.num_views * frames.width * frames.height * 4
        self._resident = self._load() if total <= budget_bytes else None

    def _load(self) -> Tensor:
        frames = self.video.frames
        images = torch.zeros(frames.num_times, frames.num_views, 4, frames.height, frames.width, dtype=torch.uint8)
        for time, view in self.video.valid.nonzero().tolist():
            images[time, view] = torch.tensor(frames.read(time, view)).permute(2, 0, 1)
        return images.to(self.device)

    def batch(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"], width: int, height: int) -> FrameBatch:
        """Premultiplied images on the device, averaged down to the size asked for."""
        if self._resident is not None:
            rgba = self._resident[times.to(self.device), views.to(self.device)].float() / 255
        else:
            full = self.video.gather(times, views)
            rgba = torch.cat((full.images, full.alphas), dim=1).to(self.device)
        if (rgba.shape[-1], rgba.shape[-2]) != (width, height):
            rgba = F.interpolate(rgba, size=(height, width), mode="area")
        return FrameBatch(rgba[:, :3], rgba[:, 3:])

    def weights(
        self, times: Int[Tensor, " B"], views: Int[Tensor, " B"], width: int, height: int
    ) -> Float[Tensor, "B 1 #H #W"]:
        """Trust in each image, times the trust in each of its pixels where the clip says so."""
        confidence = self.video.view_weights[views].to(self.device)[:, None, None, None]
        if self.video.pixel_weights is None:
            return confidence
        pixels = self.video.pixel_weights[times, views].to(self.device)
        return confidence * F.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False)
