"""What the network sees of an image: a square crop around the object, and what its mask says about its shape."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.types import Cameras

_MARGIN = 1.16  # side of a crop relative to the longer side of the object's bounding box
_COARSE = 2  # the inflated mask is computed at this fraction of the resolution


@dataclass(frozen=True)
class Crops:
    """Square crops of one camera's images, one per image.

    Attributes:
        left: left edge, pixels of the image; may be outside.
        top: upper edge.
        side: side length, pixels of the image.
    """

    left: Float[Tensor, " B"]
    top: Float[Tensor, " B"]
    side: Float[Tensor, " B"]

    def grid(self, size: int, width: int, height: int) -> Float[Tensor, "B h w 2"]:
        """Where the pixels of the crops, `size` in each direction, are in the images: for `grid_sample`."""
        steps = (torch.arange(size, device=self.side.device) + 0.5) / size
        xs = (self.left[:, None] + steps * self.side[:, None]) * (2 / width) - 1
        ys = (self.top[:, None] + steps * self.side[:, None]) * (2 / height) - 1
        return torch.stack(torch.broadcast_tensors(xs[:, None, :], ys[:, :, None]), dim=-1)

    def inverse_grid(self, width: int, height: int) -> Float[Tensor, "B H W 2"]:
        """Where the pixels of the images are in the crops: for `grid_sample`."""
        xs = torch.arange(width, device=self.side.device) + 0.5
        ys = torch.arange(height, device=self.side.device) + 0.5
        xs = (xs - self.left[:, None]) * (2 / self.side[:, None]) - 1
        ys = (ys - self.top[:, None]) * (2 / self.side[:, None]) - 1
        return torch.stack(torch.broadcast_tensors(xs[:, None, :], ys[:, :, None]), dim=-1)

    def rays(self, camera: Cameras, size: int) -> Float[Tensor, "B 2 h w"]:
        """X / z and y / z of the ray through each pixel of the crops, in the camera's frame."""
        K = camera.Ks[0]
        grid = self.grid(size, camera.width, camera.height)
        xs = ((grid[..., 0] + 1) * (camera.width / 2) - K[0, 2]) / K[0, 0]
        ys = ((grid[..., 1] + 1) * (camera.height / 2) - K[1, 2]) / K[1, 1]
        return torch.stack((xs, ys), dim=1)


def crops_around(masks: Bool[Tensor, "B H W"]) -> Crops:
    """Crops around the bounding boxes of masks; around the whole image where a mask is empty."""
    height, width = masks.shape[1:]
    left, right = _extent(masks.any(1), width)
    top, bottom = _extent(masks.any(2), height)
    side = _MARGIN * torch.maximum(right - left, bottom - top)
    return Crops(0.5 * (left + right - side), 0.5 * (top + bottom - side), side)


def network_inputs(rgba: Float[Tensor, "B 4 H W"], rays: Float[Tensor, "B 2 H W"]) -> Float[Tensor, "B 8 H W"]:
    """The network's input channels.

    Args:
        rgba: square crops, sRGB premultiplied by alpha, in [0, 1].
        rays: x / z and y / z of each pixel's ray.

    Returns:
        Straight colors, 0 outside the mask (3 channels), alpha, distance to the mask boundary and half the thickness of
        the inflated mask in units of the crop's side, and the rays.
    """
    alphas = rgba[:, 3:]
    colors = (rgba[:, :3] / alphas.clamp_min(1e-3)).clamp(0, 1) * (alphas > 0.5)
    distance, half = inflated(F.avg_pool2d(alphas, _COARSE)[:, 0] > 0.5)
    shape = F.interpolate(torch.stack((distance, half), 1), scale_factor=_COARSE, mode="bilinear")
    return torch.cat((colors, alphas, shape * (alphas > 0.5), rays), dim=1)


def inflated(masks: Bool[Tensor, "B H W"]) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Distance to the mask boundary, and half the thickness of the union of all balls that fit into the mask.

    The same shape as `ds4d.multiview.inflate.thickness.union_of_balls`, for small images on any device.

    Returns:
        Both in units of the image's width, 0 outside.
    """
    size = masks.shape[-1]
    far = float(4 * size * size)
    squared = _min_plus_parabola(torch.where(masks, far, 0.0))
    distance = (squared.sqrt() - 0.5).clamp(0, 0.5 * size) * masks
    squared = -_min_plus_parabola(torch.where(masks, -distance.square(), far))
    return distance / size, squared.clamp_min(0).sqrt() * masks / size


def _min_plus_parabola(values: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """g(p) = min over q of values(q) + |p - q|^2, one axis after the other."""
    for _ in range(2):
        steps = torch.arange(values.shape[-1], device=values.device, dtype=values.dtype)
        parabolas = (steps[:, None] - steps).square()
        values = (values[..., None, :] + parabolas).amin(-1).mT
    return values


def _extent(covered: Bool[Tensor, "B N"], size: int) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """First and last edge of what is covered, pixels; 0 and `size` where nothing is."""
    some = covered.any(1)
    first = covered.float().argmax(1)
    last = size - covered.flip(1).float().argmax(1)
    return torch.where(some, first, 0).float(), torch.where(some, last, size).float()
