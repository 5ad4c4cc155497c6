"""The views that a shape is registered to, cropped to the object and of one small size."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.types import Cameras, FrameBatch

_MARGIN = 0.2  # of the bounding box of the silhouette, on each side


@dataclass(frozen=True)
class Targets:
    """Cropped views of one frame.

    Attributes:
        images: premultiplied colors in [0, 1].
        alphas: alphas in [0, 1].
        cameras: V cameras without a time axis.
        weights: weights of the views, of sum 1.
    """

    images: Float[Tensor, "V 3 H W"]
    alphas: Float[Tensor, "V 1 H W"]
    cameras: Cameras
    weights: Float[Tensor, " V"]

    @property
    def straight(self) -> Float[Tensor, "V 3 H W"]:
        """Straight colors, undefined where the alpha is near 0."""
        return self.images / self.alphas.clamp_min(1e-2)


def crop_views(images: FrameBatch, cameras: Cameras, view_weights: Float[Tensor, " V"], size: int) -> Targets:
    """Crops each view to its silhouette with a margin, and adjusts the cameras.

    Args:
        images: one image per view, without empty masks.
        cameras: V cameras without a time axis.
        view_weights: weights of the views.
        size: height and width of the crops, pixels.
    """
    crops, Ks = [], cameras.Ks.clone()
    for view, image in enumerate(torch.cat((images.images, images.alphas), dim=1)):
        rows, columns = (image[3] > 0.5).nonzero().unbind(1)
        top, bottom = _crop_range(rows, cameras.height)
        left, right = _crop_range(columns, cameras.width)
        part = image[None, :, top:bottom, left:right]
        crops.append(F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)[0])
        Ks[view, :2, 2] -= Ks.new_tensor([left, top])
        Ks[view, :2] *= Ks.new_tensor([[size / (right - left)], [size / (bottom - top)]])
    rgba = torch.stack(crops).clamp(0, 1)
    cropped = replace(cameras, Ks=Ks, width=size, height=size)
    return Targets(rgba[:, :3], rgba[:, 3:], cropped, view_weights / view_weights.sum())


def shows_distance(cameras: Cameras) -> bool:
    """Whether V cameras without a time axis look from several sides, which determines distance and scale."""
    return bool((cameras.viewmats != cameras.viewmats[:1]).any())


def views_as_times(cameras: Cameras, repeats: int) -> Cameras:
    """The cameras as times with one view each, `repeats` times in a row: [R * V, 1]."""
    viewmats, Ks = (matrices.repeat(repeats, 1, 1)[:, None] for matrices in (cameras.viewmats, cameras.Ks))
    return replace(cameras, viewmats=viewmats, Ks=Ks)


def _crop_range(indices: Tensor, size: int) -> tuple[int, int]:
    """First and last + 1 of the rows or columns of the crop."""
    low, high = int(indices.min()), int(indices.max()) + 1
    margin = max(1, round(_MARGIN * (high - low)))
    return max(0, low - margin), min(size, high + margin)
