"""Images of a moving object: from one side, and from several."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ds4d.types.cameras import Cameras
from ds4d.types.checks import check_shape


@runtime_checkable
class Frames(Protocol):
    """Random access to the RGBA images of a multi-view clip, read when asked for."""

    num_times: int
    num_views: int
    width: int
    height: int

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: color premultiplied by alpha, then alpha, 8 bit."""
        ...


class ArrayFrames:
    """The `Frames` of images in memory: premultiplied [T, V, H, W, 4]."""

    def __init__(self, images: UInt8[np.ndarray, "T V H W 4"]) -> None:
        self.num_times, self.num_views, self.height, self.width = images.shape[:4]
        self._images = images

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: color premultiplied by alpha, then alpha, 8 bit."""
        return self._images[time, view]


@dataclass(frozen=True)
class FrameBatch:
    """Images of B (time, view) pairs.

    Attributes:
        images: color in [0, 1], premultiplied (0 where alpha is 0).
        alphas: coverage in [0, 1].
    """

    images: Float[Tensor, "B 3 H W"]
    alphas: Float[Tensor, "B 1 H W"]

    def __post_init__(self) -> None:
        check_shape("FrameBatch", "images", self.images, (None, 3, None, None))
        check_shape("FrameBatch", "alphas", self.alphas, (None, 1, None, None))

    def composite(self, backgrounds: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 H W"]:
        """The images over plain backgrounds, colors in [0, 1]."""
        return self.images + (1 - self.alphas) * backgrounds[..., None, None]


@dataclass(frozen=True)
class MultiViewVideo:
    """Synchronised views of one moving object. View 0 is the real video.

    Attributes:
        frames: the images, read when asked for.
        cameras: one per time and view, in the user's world; rigs that stand still are expanded over T.
        valid: which (time, view) pairs exist.
        times: of the frames, rising in [0, 1]; frame i of T at i / (T - 1), one frame at 0.
        view_names: one per view, for logs and file names.
        view_weights: trust in each view's images, 1 for the real one.
        pixel_weights: trust within each image at any (small) resolution, or none; multiplies `view_weights`.
        duration: length of the clip in seconds.
        loops: whether the motion runs on from the last frame into the first.
        up: axis of the user's world that points up, "y" or "z".
    """

    frames: Frames
    cameras: Cameras
    valid: Bool[Tensor, "T V"]
    times: Float[Tensor, " T"]
    view_names: tuple[str, ...]
    view_weights: Float[Tensor, " V"]
    pixel_weights: Float[Tensor, "T V 1 h w"] | None = None
    duration: float = 1.0
    loops: bool = False
    up: str = "y"

    def __post_init__(self) -> None:
        if self.up not in ("y", "z"):
            raise ValueError(f'MultiViewVideo: up must be "y" or "z", got {self.up!r}.')
        T, V = self.frames.num_times, self.frames.num_views
        wanted = {
            "cameras.viewmats": (tuple(self.cameras.viewmats.shape[:-2]), (T, V)),
            "valid": (tuple(self.valid.shape), (T, V)),
            "times": (tuple(self.times.shape), (T,)),
            "view_names": ((len(self.view_names),), (V,)),
            "view_weights": (tuple(self.view_weights.shape), (V,)),
        }
        for name, (got, want) in wanted.items():
            if got != want:
                raise ValueError(f"MultiViewVideo: {name} must have leading shape {list(want)}, got {list(got)}.")
        if T == 0 or V == 0:
            raise ValueError(f"MultiViewVideo: needs at least one frame and one view, got T = {T}, V = {V}.")
        in_range = ((self.times >= 0) & (self.times <= 1)).all()
        if not (in_range and (self.times.diff() > 0).all()):
            raise ValueError("MultiViewVideo: times must rise within [0, 1]. Divide seconds by the duration.")

    @property
    def num_times(self) -> int:
        """T."""
        return self.frames.num_times

    @property
    def num_views(self) -> int:
        """V."""
        return self.frames.num_views

    @property
    def middle(self) -> int:
        """Index of the middle frame, T // 2: the canonical one."""
        return self.num_times // 2

    @property
    def is_monocular_sweep(self) -> bool:
        """Whether the sides of the object are seen one after the other: one view at the middle frame, others later."""
        return int(self.valid[self.middle].sum()) < 2 and (self.num_views > 1 or not self.cameras.is_static)

    def gather(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> FrameBatch:
        """Reads the images of B (time, view) pairs, on the CPU."""
        pairs = zip(times.tolist(), views.tolist(), strict=True)
        stack = np.stack([self.frames.read(time, view) for time, view in pairs])
        rgba = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
        return FrameBatch(rgba[:, :3], rgba[:, 3:])


@dataclass(frozen=True)
class Video:
    """One camera's video of one object, cut out: what a view generator starts from.

    Attributes:
        frames: the images, one view, read when asked for.
        fps: frames per second, above 0.
        camera: where it stood, as one view without a time axis, world y up and the origin in the object; None where
            nobody knows, which leaves it to the generator.
    """

    frames: Frames
    fps: float
    camera: Cameras | None = None

    def __post_init__(self) -> None:
        if self.frames.num_views != 1 or self.frames.num_times < 1:
            raise ValueError(
                f"Video: frames must be of one view and one time at least, got {self.frames.num_views} views and "
                f"{self.frames.num_times} times. Choose one view."
            )
        if not self.fps > 0:
            raise ValueError(f"Video: fps must be above 0, got {self.fps}.")
        if self.camera is not None and self.camera.viewmats.shape[:-2] != (1,):
            raise ValueError(
                f"Video: camera must be one that stands still, got leading axes "
                f"{list(self.camera.viewmats.shape[:-2])}. Give one view without a time axis."
            )

    @property
    def num_times(self) -> int:
        """T."""
        return self.frames.num_times


@dataclass(frozen=True)
class PointCloud:
    """Points on an object's surface.

    Attributes:
        positions: world units.
        colors: in [0, 1].
    """

    positions: Float[Tensor, "N 3"]
    colors: Float[Tensor, "N 3"]

    def __post_init__(self) -> None:
        check_shape("PointCloud", "positions", self.positions, (None, 3))
        check_shape("PointCloud", "colors", self.colors, (len(self.positions), 3))


@dataclass(frozen=True)
class GeneratedViews:
    """What a view generator makes of a video.

    Attributes:
        video: the video as view 0, and the views made of each frame, in the generator's world.
        points: the object at the middle frame, where the generator knows its shape; to begin the fit with.
    """

    video: MultiViewVideo
    points: PointCloud | None = None
