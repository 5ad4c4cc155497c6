"""What metrics are computed on: pairs of clips, the clips of one object, and pairs of moving shapes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from ds4d.metrics import score_view
from ds4d.metrics.alignment import AlignmentConfig, Pose, align_points

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ClipPair:
    """The frames of one view of one object, true and rendered.

    Attributes:
        name: name of the object and the view.
        truth: true frames, straight alpha.
        rendered: rendered frames, straight alpha, as many as true ones.
        side: width and height to which both are resized for metrics of single images, pixels; None leaves them as they
            are, for which they must have one size.
        resampling: filter of that resizing.
    """

    name: str
    truth: UInt8[np.ndarray, "T H W 4"]
    rendered: UInt8[np.ndarray, "t h w 4"]
    side: int | None = None
    resampling: Image.Resampling = Image.Resampling.BICUBIC
    _results: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.rendered):
            raise ValueError(
                f"{self.name} must have the {len(self.truth)} frames of the truth, got {len(self.rendered)}. "
                "Render all frames, or compare fewer with --frames."
            )
        if self.side is None and self.truth.shape != self.rendered.shape:
            raise ValueError(
                f"{self.name} must have the size of the truth {_size(self.truth)}, got {_size(self.rendered)}. "
                "Render at that size."
            )

    @property
    def has_alpha(self) -> bool:
        """Whether both have a silhouette: some pixel is not opaque."""
        return bool((self.truth[..., 3] < 255).any() and (self.rendered[..., 3] < 255).any())

    @property
    def same_size(self) -> bool:
        """Whether both are of one size before they are resized."""
        return self.truth.shape == self.rendered.shape

    @cached_property
    def native(self) -> tuple[UInt8[np.ndarray, "T h w 3"], UInt8[np.ndarray, "T H W 3"]]:
        """Rendered and true frames on white in their own sizes."""
        return _on_white(self.rendered), _on_white(self.truth)

    @cached_property
    def colors(self) -> tuple[UInt8[np.ndarray, "T H W 3"], UInt8[np.ndarray, "T H W 3"]]:
        """Rendered and true frames on white, resized to `side`."""
        return self._resized(self.native[0]), self._resized(self.native[1])

    @cached_property
    def masks(self) -> tuple[Bool[np.ndarray, "T H W"], Bool[np.ndarray, "T H W"]]:
        """Rendered and true silhouettes, in their own sizes."""
        return self.rendered[..., 3] >= 128, self.truth[..., 3] >= 128

    @cached_property
    def scores(self) -> dict[str, float]:
        """The scores of `ds4d.metrics.score_view`."""
        return score_view(self.truth, self.rendered)

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """A result that several metrics share, computed at the first call."""
        if key not in self._results:
            self._results[key] = compute()
        return self._results[key]

    def _resized(self, frames: UInt8[np.ndarray, "T h w 3"]) -> UInt8[np.ndarray, "T H W 3"]:
        if self.side is None or frames.shape[1:3] == (self.side, self.side):
            return frames
        size = (self.side, self.side)
        return np.stack([np.asarray(Image.fromarray(frame).resize(size, self.resampling)) for frame in frames])


@dataclass(frozen=True, eq=False)
class ViewGrid:
    """All clips of one object: the images of a matrix with one row per view and one column per frame.

    Attributes:
        name: name of the object.
        clips: clips by view, in the order of the views around the object.
    """

    name: str
    clips: Mapping[str, ClipPair]

    def images(self, side: int) -> UInt8[np.ndarray, "V T H W 3"]:
        """On white: the rendered images (side 0) or the true ones (side 1)."""
        frames = {clip.native[side].shape for clip in self.clips.values()}
        if len(frames) > 1:
            raise ValueError(f"the views of {self.name} must have one size and number of frames, got {sorted(frames)}.")
        return np.stack([clip.native[side] for clip in self.clips.values()])


@dataclass(frozen=True, eq=False)
class ShapePair:
    """A moving shape and the truth.

    Attributes:
        name: name of the object.
        points: points of each frame.
        tracked: whether row i is the same material point in all frames.
        truth: true surface points, tracked.
        alignment: how the points are aligned for the metrics that do so.
    """

    name: str
    points: Sequence[Float[np.ndarray, "N 3"]]
    tracked: bool
    truth: Float[np.ndarray, "T M 3"]
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)

    def __post_init__(self) -> None:
        if len(self.points) != len(self.truth):
            raise ValueError(
                f"{self.name} must have the {len(self.truth)} frames of the truth, got {len(self.points)}. "
                "Give one shape per frame, or compare fewer with --frames."
            )

    @property
    def track(self) -> Float[np.ndarray, "T N 3"]:
        """The points as one array; they are tracked."""
        return np.stack(self.points)

    @cached_property
    def frame_poses(self) -> list[Pose]:
        """One alignment per frame, as ActionBench's CD-3D needs it."""
        first, others = self.first_pose, range(1, len(self.truth))
        return [first, *(align_points(self.points[i], self.truth[i], self.alignment) for i in others)]

    @cached_property
    def first_pose(self) -> Pose:
        """The alignment of the first frame, with a scale along each axis: ActionBench's."""
        return align_points(self.points[0], self.truth[0], self.alignment)

    @cached_property
    def similarity(self) -> "ShapePair":
        """This pair after the similarity that aligns the first frame."""
        config = AlignmentConfig(self.alignment.points, self.alignment.steps, uniform_scale=True)
        pose = align_points(self.points[0], self.truth[0], config)
        return self.moved([pose] * len(self.points))

    def moved(self, poses: Sequence[Pose]) -> "ShapePair":
        """This pair with each frame's points in a pose."""
        moved = [pose.apply(points) for pose, points in zip(poses, self.points, strict=True)]
        return ShapePair(self.name, moved, self.tracked, self.truth, self.alignment)


def _on_white(rgba: UInt8[np.ndarray, "T H W 4"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Straight RGBA composited on white and rounded to 8 bit, as files of the field hold it."""
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _size(frames: UInt8[np.ndarray, "T H W 4"]) -> str:
    return f"{frames.shape[2]} x {frames.shape[1]}"
