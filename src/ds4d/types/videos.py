"""Videos of one or several views, and their images."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ds4d.core import map_on_threads
from ds4d.types.cameras import Cameras
from ds4d.types.checks import check_shape


@runtime_checkable
class Frames(Protocol):
    """Random access to the RGBA images of a multi-view video, read on demand, also by several threads at once.

    Those of which reading has become copying say so by an attribute `in_memory`.
    """

    num_times: int
    num_views: int
    width: int
    height: int

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha."""
        ...


class ArrayFrames:
    """`Frames` in memory.

    Args:
        images: 8-bit RGBA, colors premultiplied by alpha.
    """

    in_memory = True

    def __init__(self, images: UInt8[np.ndarray, "T V H W 4"]) -> None:
        self.num_times, self.num_views, self.height, self.width = images.shape[:4]
        self._images = images

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha."""
        return self._images[time, view]


class FramesPart:
    """Consecutive times of other `Frames`, which are read from there.

    Args:
        frames: images of all times.
        chosen: the times, counted from 0.
    """

    def __init__(self, frames: Frames, chosen: range) -> None:
        self.num_times, self.num_views = len(chosen), frames.num_views
        self.width, self.height = frames.width, frames.height
        self._frames, self._chosen = frames, chosen

    @property
    def in_memory(self) -> bool:
        """Whether those of all times are."""
        return getattr(self._frames, "in_memory", False)

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha."""
        return self._frames.read(self._chosen[time], view)


@dataclass(frozen=True)
class FrameBatch:
    """Images of B (time, view) pairs.

    Attributes:
        images: colors in [0, 1], premultiplied by alpha.
        alphas: coverage in [0, 1].
    """

    images: Float[Tensor, "B 3 H W"]
    alphas: Float[Tensor, "B 1 H W"]

    def __post_init__(self) -> None:
        check_shape("FrameBatch", "images", self.images, (None, 3, None, None))
        check_shape("FrameBatch", "alphas", self.alphas, (None, 1, None, None))

    def composite(self, backgrounds: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 H W"]:
        """The images composited over uniform backgrounds, colors in [0, 1]."""
        return self.images + (1 - self.alphas) * backgrounds[..., None, None]


@dataclass(frozen=True)
class MultiViewVideo:
    """Synchronized views of one moving object; view 0 is the input view.

    Attributes:
        frames: images, read on demand.
        cameras: camera of each time and view, in world space; static cameras are expanded over T.
        valid: whether each (time, view) pair has an image.
        times: times of the frames, increasing in [0, 1]; usually i / (T - 1) for frame i.
        view_names: name of each view, for logs and file names.
        view_weights: loss weight of each view, 1 for the input view.
        pixel_weights: loss weights within each image, at any (low) resolution; multiplies `view_weights`.
        duration: duration of the video, seconds.
        loops: whether the last frame is followed by the first.
        up: up axis of world space, "y" or "z".
        tracks: where each pixel of the input view's middle frame is in its other frames, at any (low) resolution: x and
            y as fractions of width and height, and depth as a multiple of that in the middle frame. None where motion
            is small enough to be found without.
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
    tracks: Float[Tensor, "T _ _ 3"] | None = None

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
            raise ValueError(f"MultiViewVideo: frames must have at least one time and one view, got T = {T}, V = {V}.")
        if self.tracks is not None:
            check_shape("MultiViewVideo", "tracks", self.tracks, (T, None, None, 3))
        in_range = ((self.times >= 0) & (self.times <= 1)).all()
        if not (in_range and (self.times.diff() > 0).all()):
            raise ValueError("MultiViewVideo: times must increase within [0, 1]. Divide seconds by the duration.")

    @property
    def num_times(self) -> int:
        """Number of times T."""
        return self.frames.num_times

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return self.frames.num_views

    @property
    def middle(self) -> int:
        """Index of the middle frame, T // 2, which the canonical Gaussians represent."""
        return self.num_times // 2

    @property
    def is_monocular_sweep(self) -> bool:
        """Whether a moving camera shows the sides of the object one after the other: one view at the middle frame."""
        return int(self.valid[self.middle].sum()) < 2 and (self.num_views > 1 or not self.cameras.is_static)

    def part(self, chosen: range) -> "MultiViewVideo":
        """Consecutive frames as a video of their own, whose times run from 0 to 1 again.

        Args:
            chosen: at least two frames, counted from 0.
        """
        rows = slice(chosen.start, chosen.stop)
        times = self.times[rows]
        length = times[-1] - times[0]
        return replace(
            self,
            frames=FramesPart(self.frames, chosen),
            cameras=self.cameras[rows],
            valid=self.valid[rows],
            times=((times - times[0]) / length).clamp(0, 1),
            pixel_weights=None if self.pixel_weights is None else self.pixel_weights[rows],
            duration=self.duration * float(length),
            loops=False,
            tracks=None,  # those of another middle frame
        )

    def gather(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> FrameBatch:
        """Images of B (time, view) pairs, on the CPU."""
        pairs = list(zip(times.tolist(), views.tolist(), strict=True))
        # Images that are in memory are copied in less time than threads take to start.
        some = map if getattr(self.frames, "in_memory", False) else map_on_threads
        stack = np.stack(list(some(lambda pair: self.frames.read(*pair), pairs)))
        rgba = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
        return FrameBatch(rgba[:, :3], rgba[:, 3:])


@dataclass(frozen=True)
class Video:
    """A matted video of one object by one camera, the input of view generators.

    Attributes:
        frames: images of one view, read on demand.
        fps: frames per second, above 0.
        camera: static camera, one view without a time axis, in a world with y up and the origin in the object; None if
            it is unknown, then the view generator assumes one.
        tracks: where each pixel of the middle frame is in every frame, at any (low) resolution: x and y as fractions
            of the image; None unless the object moves far between frames.
    """

    frames: Frames
    fps: float
    camera: Cameras | None = None
    tracks: Float[Tensor, "T _ _ 2"] | None = None

    def __post_init__(self) -> None:
        if self.frames.num_views != 1 or self.frames.num_times < 1:
            raise ValueError(
                f"Video: frames must have one view and at least one time, got {self.frames.num_views} views and "
                f"{self.frames.num_times} times. Choose one view."
            )
        if not self.fps > 0:
            raise ValueError(f"Video: fps must be above 0, got {self.fps}.")
        if self.camera is not None and self.camera.viewmats.shape[:-2] != (1,):
            raise ValueError(
                f"Video: camera must be one view without a time axis, got leading axes "
                f"{list(self.camera.viewmats.shape[:-2])}."
            )
        if self.tracks is not None:
            check_shape("Video", "tracks", self.tracks, (self.num_times, None, None, 2))

    @property
    def num_times(self) -> int:
        """Number of times T."""
        return self.frames.num_times

    @property
    def middle(self) -> int:
        """Index of the middle frame, T // 2."""
        return self.num_times // 2


@dataclass(frozen=True)
class PointCloud:
    """Points on an object's surface.

    Attributes:
        positions: positions, world units.
        colors: colors in [0, 1].
    """

    positions: Float[Tensor, "N 3"]
    colors: Float[Tensor, "N 3"]

    def __post_init__(self) -> None:
        check_shape("PointCloud", "positions", self.positions, (None, 3))
        check_shape("PointCloud", "colors", self.colors, (len(self.positions), 3))


@dataclass(frozen=True)
class GeneratedViews:
    """The result of a view generator.

    Attributes:
        video: the input video as view 0 and the generated views, in the world of the generator.
        points: surface points of the object in the middle frame, from which Gaussians can be initialized; None if the
            generator does not know its shape.
        depths: depth of the surface that the input view shows, along its camera's z axis, world units, at any (low)
            resolution; 0 beside the object. None if the generator does not know its shape at every frame.
    """

    video: MultiViewVideo
    points: PointCloud | None = None
    depths: Float[Tensor, "T h w"] | None = None
