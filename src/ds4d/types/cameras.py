"""Cameras, and the similarity between world space and normalized space."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.types.checks import check_shape


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras, world to camera in OpenCV axes (+x right, +y down, +z forward).

    Attributes:
        viewmats: world-to-camera matrices.
        Ks: intrinsics in pixels; the center of pixel (i, j) is at (i + 0.5, j + 0.5).
        width: image width, pixels.
        height: image height, pixels.
    """

    viewmats: Float[Tensor, "*T V 4 4"]
    Ks: Float[Tensor, "*T V 3 3"]
    width: int
    height: int

    def __post_init__(self) -> None:
        check_shape("Cameras", "viewmats", self.viewmats, (None, 4, 4))
        check_shape("Cameras", "Ks", self.Ks, (None, 3, 3))
        if self.viewmats.shape[:-2] != self.Ks.shape[:-2]:
            raise ValueError(
                f"Cameras: Ks must have the leading axes of viewmats {list(self.viewmats.shape[:-2])}, "
                f"got {list(self.Ks.shape[:-2])}. Expand the other one."
            )
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"Cameras: width and height must be positive, got {self.width} x {self.height}.")

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return self.viewmats.shape[-3]

    @property
    def centers(self) -> Float[Tensor, "*T V 3"]:
        """Positions of the cameras, world units."""
        return -(self.viewmats[..., :3, :3].mT @ self.viewmats[..., :3, 3:]).squeeze(-1)

    @property
    def is_static(self) -> bool:
        """Whether no camera moves over time; always true without a time axis."""
        if self.viewmats.ndim == 3:
            return True
        return bool(
            torch.equal(self.viewmats, self.viewmats[:1].expand_as(self.viewmats))
            and torch.equal(self.Ks, self.Ks[:1].expand_as(self.Ks))
        )

    def equals(self, other: "Cameras") -> bool:
        """Whether both are the same cameras, to the last bit."""
        return (
            (self.width, self.height) == (other.width, other.height)
            and torch.equal(self.viewmats, other.viewmats)
            and torch.equal(self.Ks, other.Ks)
        )

    def to(self, *args: Any) -> "Cameras":
        """The same cameras on another device or in another dtype (arguments as `Tensor.to`)."""
        return replace(self, viewmats=self.viewmats.to(*args), Ks=self.Ks.to(*args))

    def __getitem__(self, index: Any) -> "Cameras":
        """Cameras chosen along the leading axes [*T, V], by tensor indexing; the last axis left is that of the views.

        Slices keep an axis (`cameras[:1]`: the first view; `cameras[..., :1]`: at every time), None adds one
        (`cameras[None]`: a time axis), an integer drops one (`cameras[0]`: the views of the first time).

        Raises:
            ValueError: no axis is left for the views.
        """
        if isinstance(index, tuple) and any(part is Ellipsis for part in index):
            index = (*index, slice(None), slice(None))
        viewmats = self.viewmats[index]
        if viewmats.ndim < 3:
            raise ValueError("Cameras: an index must leave an axis for the views. Use a slice: cameras[2:3].")
        return replace(self, viewmats=viewmats, Ks=self.Ks[index])

    def at_time(self, time: int) -> "Cameras":
        """The cameras [V] of one time; without a time axis they are the same at every time."""
        return self if self.viewmats.ndim == 3 else self[time]

    def expand_times(self, count: int) -> "Cameras":
        """The same cameras at `count` times [T, V], without copying; needs cameras without a time axis."""
        return replace(self, viewmats=self.viewmats.expand(count, -1, -1, -1), Ks=self.Ks.expand(count, -1, -1, -1))

    def select(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> "Cameras":
        """One camera per (time, view) pair: viewmats [B, 1, 4, 4]. Needs a time axis."""
        return self[times, views][:, None]

    def resized(self, width: int, height: int) -> "Cameras":
        """The same cameras with another image size; intrinsics scale with it."""
        scale = self.Ks.new_tensor([width / self.width, height / self.height, 1.0])
        return replace(self, Ks=self.Ks * scale[:, None], width=width, height=height)


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation, from world space to normalized space.

    Attributes:
        scale: scale factor, positive.
        rotation: rotation matrix.
        translation: translation, units of normalized space.
    """

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, " 3"]

    def __post_init__(self) -> None:
        check_shape("Similarity", "rotation", self.rotation, (3, 3))
        check_shape("Similarity", "translation", self.translation, (3,))
        if not self.scale > 0:
            raise ValueError(f"Similarity: scale must be positive, got {self.scale}.")

    @staticmethod
    def identity() -> "Similarity":
        """The identity map."""
        return Similarity(1.0, torch.eye(3), torch.zeros(3))
