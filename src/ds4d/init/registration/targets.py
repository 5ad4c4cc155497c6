"""What a shape is held against: the object in the views of one moment, cut out, small, and each view as large."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.types import Cameras, FrameBatch

_MARGIN = 0.2  # of the silhouette's box on each side: margin for drift


@dataclass(frozen=True)
class Targets:
    """The views of one moment.

    Attributes:
        images: premultiplied color in [0, 1].
        alphas: coverage in [0, 1].
        cameras: V cameras without a time axis.
        weights: trust in each view; they sum up to 1.
    """

    images: Float[Tensor, "V 3 H W"]
    alphas: Float[Tensor, "V 1 H W"]
    cameras: Cameras
    weights: Float[Tensor, " V"]

    @property
    def straight(self) -> Float[Tensor, "V 3 H W"]:
        """Colors without alpha; without meaning where hardly anything covers."""
        return self.images / self.alphas.clamp_min(1e-2)


def extract_mattes(images: FrameBatch, cameras: Cameras, view_weights: Float[Tensor, " V"], size: int) -> Targets:
    """The window round each view's silhouette, `size` pixels wide and high, with the camera that takes it.

    Args:
        images: one per view, no mask empty.
        cameras: V cameras without a time axis.
        view_weights: trust in each view.
        size: of the windows, pixels.
    """
    windows, Ks = [], cameras.Ks.clone()
    for view, image in enumerate(torch.cat((images.images, images.alphas), dim=1)):
        rows, columns = (image[3] > 0.5).nonzero().unbind(1)
        top, bottom = _window(rows, cameras.height)
        left, right = _window(columns, cameras.width)
        part = image[None, :, top:bottom, left:right]
        windows.append(F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)[0])
        Ks[view, :2, 2] -= Ks.new_tensor([left, top])
        Ks[view, :2] *= Ks.new_tensor([[size / (right - left)], [size / (bottom - top)]])
    rgba = torch.stack(windows).clamp(0, 1)
    taken = replace(cameras, Ks=Ks, width=size, height=size)
    return Targets(rgba[:, :3], rgba[:, 3:], taken, view_weights / view_weights.sum())


def _window(indices: Tensor, size: int) -> tuple[int, int]:
    """First and last + 1 of the rows or columns round those of a silhouette."""
    low, high = int(indices.min()), int(indices.max()) + 1
    margin = max(1, round(_MARGIN * (high - low)))
    return max(0, low - margin), min(size, high + margin)
