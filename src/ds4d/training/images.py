"""Training images at the sizes of the training stages, kept on the device where they fit."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import large_tensor, parallel_for, release_pages
from ds4d.types import FrameBatch, MultiViewVideo

_IMAGES = 1  # worth handing to another thread


class TrainingImages:
    """Images of (time, view) pairs at any size.

    Videos up to the cache size are kept on the device as 8-bit RGBA, on the CPU as a large array (`ds4d.core`); longer
    ones are read frame by frame through the bounded cache of the video, so that memory does not grow with its length.

    Args:
        video: multi-view video.
        device: device of the batches.
        cache_bytes: size of the cache on the device, bytes.
    """

    def __init__(self, video: MultiViewVideo, device: torch.device, cache_bytes: int) -> None:
        self.video = video
        self.device = device
        frames = video.frames
        total = frames.num_times * frames.num_views * frames.width * frames.height * 4
        self._resident = self._load() if total <= cache_bytes else None
        self._view_weights = video.view_weights.to(device)
        self._pixel_weights = video.pixel_weights
        if self.is_resident and video.pixel_weights is not None:
            self._pixel_weights = video.pixel_weights.to(device)

    @property
    def is_resident(self) -> bool:
        """Whether the images are kept on the device, where indices on the device choose them without waiting for it."""
        return self._resident is not None

    def _load(self) -> Tensor:
        frames = self.video.frames
        images = large_tensor((frames.num_times, frames.num_views, 4, frames.height, frames.width), torch.uint8)
        for time, view in self.video.valid.nonzero().tolist():
            images[time, view] = torch.tensor(frames.read(time, view)).permute(2, 0, 1)
            release_pages()
        return images.to(self.device)

    def batch(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"], width: int, height: int) -> FrameBatch:
        """Premultiplied images on the device, area-averaged to a size in pixels.

        Args:
            times: frame indices, on the CPU unless the images are resident.
            views: view indices, likewise.
            width: width in pixels.
            height: height in pixels.
        """
        factor = self.video.frames.width // width
        if self._resident is not None and self._resident.device.type == "cpu" and self._divides(factor, width, height):
            rgba = self._averaged(self._resident, times, views, factor)
        elif self._resident is not None:
            rgba = self._resident[times.to(self.device), views.to(self.device)].float() / 255
        else:
            full = self.video.gather(times, views)
            rgba = torch.cat((full.images, full.alphas), dim=1).to(self.device)
        if (rgba.shape[-1], rgba.shape[-2]) != (width, height):
            rgba = F.interpolate(rgba, size=(height, width), mode="area")
        return FrameBatch(rgba[:, :3], rgba[:, 3:])

    def _divides(self, factor: int, width: int, height: int) -> bool:
        """Whether each pixel of images of a size is a square of this many whole pixels on each side."""
        return factor > 0 and (factor * width, factor * height) == (self.video.frames.width, self.video.frames.height)

    @staticmethod
    def _averaged(images: Tensor, times: Tensor, views: Tensor, factor: int) -> Float[Tensor, "B 4 H W"]:
        from ds4d.training.images_kernel import average  # imports numba

        out = torch.empty(len(times), 4, images.shape[-2] // factor, images.shape[-1] // factor)
        arrays = [x.numpy() for x in (images, times, views)]
        parallel_for(average, len(times), _IMAGES, *arrays, factor, out.numpy())
        return out

    def weights(
        self, times: Int[Tensor, " B"], views: Int[Tensor, " B"], width: int, height: int
    ) -> Float[Tensor, "B 1 #H #W"]:
        """View weights, multiplied by the pixel weights where the video has them."""
        weights = self._view_weights[views.to(self.device)][:, None, None, None]
        if self._pixel_weights is None:
            return weights
        pixels = self._pixel_weights[times, views].to(self.device)
        return weights * F.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False)
