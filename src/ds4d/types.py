"""The nouns that travel between rooms.

Letters used in shapes: T time, V view, N Gaussians, K spherical-harmonics bases, C feature channels, H W pixels,
h w feature cells, B any batch.
`*T` is an optional leading time axis. Every type checks the shapes of its fields when it is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


def _check(owner: str, name: str, tensor: Tensor, trailing: Sequence[int | None]) -> None:
    """Raises unless `tensor` is floating point and its last axes match `trailing` (None matches any size)."""
    shape = tuple(tensor.shape)
    tail = shape[len(shape) - len(trailing) :]
    fits = len(shape) >= len(trailing) and all(
        want is None or want == got for want, got in zip(trailing, tail, strict=True)
    )
    if not fits:
        want = ", ".join("any" if size is None else str(size) for size in trailing)
        raise ValueError(f"{owner}: {name} must have shape [..., {want}], got {list(shape)}.")
    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{owner}: {name} must be floating point, got {tensor.dtype}. Call .float() on it.")


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras, world to camera in OpenCV axes (+x right, +y down, +z forward).

    Attributes:
        viewmats: world-to-camera matrices.
        Ks: intrinsics in pixels; the centre of pixel (i, j) lies at (i + 0.5, j + 0.5).
        width: image width in pixels.
        height: image height in pixels.
    """

    viewmats: Float[Tensor, "*T V 4 4"]
    Ks: Float[Tensor, "*T V 3 3"]
    width: int
    height: int

    def __post_init__(self) -> None:
        _check("Cameras", "viewmats", self.viewmats, (None, 4, 4))
        _check("Cameras", "Ks", self.Ks, (None, 3, 3))
        if self.viewmats.shape[:-2] != self.Ks.shape[:-2]:
            raise ValueError(
                f"Cameras: Ks must have the leading axes of viewmats {list(self.viewmats.shape[:-2])}, "
                f"got {list(self.Ks.shape[:-2])}. Expand the one that stands still."
            )
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"Cameras: width and height must be positive, got {self.width} x {self.height}.")

    @property
    def num_views(self) -> int:
        """V."""
        return self.viewmats.shape[-3]

    @property
    def is_static(self) -> bool:
        """Whether every camera stands still over time (always true without a time axis)."""
        if self.viewmats.ndim == 3:
            return True
        return bool(
            torch.equal(self.viewmats, self.viewmats[:1].expand_as(self.viewmats))
            and torch.equal(self.Ks, self.Ks[:1].expand_as(self.Ks))
        )

    def to(self, *args: Any) -> "Cameras":
        """The same cameras on another device or in another dtype (arguments as `Tensor.to`)."""
        return replace(self, viewmats=self.viewmats.to(*args), Ks=self.Ks.to(*args))

    def select(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> "Cameras":
        """One camera per (time, view) pair: viewmats [B, 1, 4, 4]. Needs a time axis."""
        return replace(self, viewmats=self.viewmats[times, views][:, None], Ks=self.Ks[times, views][:, None])

    def resized(self, width: int, height: int) -> "Cameras":
        """The same cameras taking pictures of another size; intrinsics scale with the size."""
        scale = self.Ks.new_tensor([width / self.width, height / self.height, 1.0])
        return replace(self, Ks=self.Ks * scale[:, None], width=width, height=height)


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation, from the user's world into the object's inner world.

    Attributes:
        scale: positive factor.
        rotation: proper rotation.
        translation: in inner units.
    """

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, " 3"]

    def __post_init__(self) -> None:
        _check("Similarity", "rotation", self.rotation, (3, 3))
        _check("Similarity", "translation", self.translation, (3,))
        if not self.scale > 0:
            raise ValueError(f"Similarity: scale must be positive, got {self.scale}.")

    @staticmethod
    def identity() -> "Similarity":
        """The map that changes nothing."""
        return Similarity(1.0, torch.eye(3), torch.zeros(3))


@runtime_checkable
class Frames(Protocol):
    """Random access to the RGBA pictures of a multi-view clip, read when asked for."""

    num_times: int
    num_views: int
    width: int
    height: int

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One picture: colour premultiplied by alpha, then alpha, 8 bit."""
        ...


@dataclass(frozen=True)
class FrameBatch:
    """Pictures of B (time, view) pairs.

    Attributes:
        images: colour in [0, 1], premultiplied (0 where alpha is 0).
        alphas: coverage in [0, 1].
    """

    images: Float[Tensor, "B 3 H W"]
    alphas: Float[Tensor, "B 1 H W"]

    def __post_init__(self) -> None:
        _check("FrameBatch", "images", self.images, (None, 3, None, None))
        _check("FrameBatch", "alphas", self.alphas, (None, 1, None, None))

    def composite(self, backgrounds: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 H W"]:
        """The pictures over plain backgrounds, colours in [0, 1]."""
        return self.images + (1 - self.alphas) * backgrounds[..., None, None]


@dataclass(frozen=True)
class MultiViewVideo:
    """Synchronised views of one moving object. View 0 is the real video.

    Attributes:
        frames: the pictures, read when asked for.
        cameras: one per time and view, in the user's world; rigs that stand still are expanded over T.
        valid: which (time, view) pairs exist.
        times: of the frames, rising in [0, 1]; frame i of T at i / (T - 1), one frame at 0.
        view_names: one per view, for logs and file names.
        view_weights: trust in each view's pictures, 1 for the real one.
        pixel_weights: trust within each picture at any (small) resolution, or none; multiplies `view_weights`.
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
    def is_swept(self) -> bool:
        """Whether the sides of the object are seen one after the other: one view at the middle frame, others later."""
        return int(self.valid[self.middle].sum()) < 2 and (self.num_views > 1 or not self.cameras.is_static)

    def gather(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> FrameBatch:
        """Reads the pictures of B (time, view) pairs, on the CPU."""
        pairs = zip(times.tolist(), views.tolist(), strict=True)
        stack = np.stack([self.frames.read(time, view) for time, view in pairs])
        rgba = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
        return FrameBatch(rgba[:, :3], rgba[:, 3:])


@dataclass(frozen=True)
class FrameFeatures:
    """What a frozen network or filter bank sees in every picture of a clip (paper: f(i,j)).

    Attributes:
        maps: one vector of C channels per cell; half precision saves memory and is accurate enough.
        valid: which (time, view) pairs have a picture; the others hold zeros.
    """

    maps: Float[Tensor, "T V C h w"]
    valid: Bool[Tensor, "T V"]

    def __post_init__(self) -> None:
        _check("FrameFeatures", "maps", self.maps, (None, None, None, None, None))
        if self.valid.shape != self.maps.shape[:2]:
            raise ValueError(
                f"FrameFeatures: valid must have the times and views of maps {list(self.maps.shape[:2])}, "
                f"got {list(self.valid.shape)}. Make both from the same clip."
            )


@dataclass(frozen=True)
class DecoupledFeatures:
    """Frame features as the sum of what they share with their view's reference and of the rest (paper: DSFD).

    Attributes:
        static: projection of each frame feature on the reference.
        dynamic: the remainder, orthogonal to the reference.
    """

    static: Float[Tensor, "T V C h w"]
    dynamic: Float[Tensor, "T V C h w"]

    def __post_init__(self) -> None:
        _check("DecoupledFeatures", "static", self.static, (None, None, None, None, None))
        if self.dynamic.shape != self.static.shape:
            raise ValueError(
                f"DecoupledFeatures: dynamic must have the shape of static {list(self.static.shape)}, "
                f"got {list(self.dynamic.shape)}."
            )

    @property
    def decoupled(self) -> Float[Tensor, "T V D h w"]:
        """The frame features and their dynamic part, one behind the other (paper: concat(f, dynamic))."""
        return torch.cat((self.static + self.dynamic, self.dynamic), dim=2)


@dataclass(frozen=True)
class RawGaussians:
    """Gaussians as they are optimised, deformed and saved; `activate` is the only way to the drawn ones.

    Attributes:
        means: centres, inner world units.
        quats: rotations wxyz, any length above 0.
        log_scales: logarithms of the standard deviations.
        opacity_logits: logits of the opacities.
        sh: spherical harmonics of the colour (K = (degree + 1)^2); with or without a time axis.
    """

    means: Float[Tensor, "*T N 3"]
    quats: Float[Tensor, "*T N 4"]
    log_scales: Float[Tensor, "*T N 3"]
    opacity_logits: Float[Tensor, "*T N"]
    sh: Float[Tensor, "*S N K 3"]

    def __post_init__(self) -> None:
        _check_gaussians(self, "log_scales", "opacity_logits")

    @property
    def num_gaussians(self) -> int:
        """N."""
        return self.means.shape[-2]

    def activate(self) -> "Gaussians":
        """Unit quaternions, exp of the scales, sigmoid of the opacities."""
        return Gaussians(
            means=self.means,
            quats=torch.nn.functional.normalize(self.quats, dim=-1),
            scales=self.log_scales.exp(),
            opacities=self.opacity_logits.sigmoid(),
            sh=self.sh,
        )

    def to(self, *args: Any) -> "RawGaussians":
        """The same Gaussians on another device or in another dtype (arguments as `Tensor.to`)."""
        return RawGaussians(**{name: getattr(self, name).to(*args) for name in self.__dataclass_fields__})

    def expand_times(self, count: int) -> "RawGaussians":
        """The same Gaussians at `count` times, without copying; needs a set without a time axis."""
        names = ("means", "quats", "log_scales", "opacity_logits")
        parts = {name: getattr(self, name).expand(count, *getattr(self, name).shape) for name in names}
        return RawGaussians(**parts, sh=self.sh)

    def at_time(self, index: int) -> "RawGaussians":
        """One time of a set with a time axis."""
        names = ("means", "quats", "log_scales", "opacity_logits")
        parts = {name: getattr(self, name)[index] for name in names}
        return RawGaussians(**parts, sh=self.sh[index] if self.sh.ndim == 4 else self.sh)


@dataclass(frozen=True)
class Gaussians:
    """Gaussians as they are drawn.

    Attributes:
        means: centres.
        quats: unit rotations wxyz.
        scales: standard deviations along the rotated axes, above 0, in the units of `means`.
        opacities: in [0, 1].
        sh: spherical harmonics of the colour; the renderer evaluates them per camera (colour = SH + 0.5, at least 0).
    """

    means: Float[Tensor, "*T N 3"]
    quats: Float[Tensor, "*T N 4"]
    scales: Float[Tensor, "*T N 3"]
    opacities: Float[Tensor, "*T N"]
    sh: Float[Tensor, "*S N K 3"]

    def __post_init__(self) -> None:
        _check_gaussians(self, "scales", "opacities")

    @property
    def num_gaussians(self) -> int:
        """N."""
        return self.means.shape[-2]


def _check_gaussians(gaussians: RawGaussians | Gaussians, scales: str, opacities: str) -> None:
    owner = type(gaussians).__name__
    _check(owner, "means", gaussians.means, (None, 3))
    lead = tuple(gaussians.means.shape[:-1])
    for name, tail in (("quats", (4,)), (scales, (3,)), (opacities, ())):
        tensor = getattr(gaussians, name)
        if tuple(tensor.shape) != lead + tail:
            raise ValueError(f"{owner}: {name} must have shape {list(lead + tail)}, got {list(tensor.shape)}.")
    count = gaussians.means.shape[-2]
    _check(owner, "sh", gaussians.sh, (count, None, 3))
    if gaussians.sh.ndim > 3 and tuple(gaussians.sh.shape[:-3]) != lead[:-1]:
        raise ValueError(
            f"{owner}: sh must have the leading axes {list(lead[:-1])} of means or none, "
            f"got {list(gaussians.sh.shape)}."
        )


@dataclass(frozen=True)
class Rendering:
    """What a splatter gives back.

    Attributes:
        colors: colour over the background; premultiplied where no background was given.
        alphas: coverage in [0, 1].
        depths: expected depth along the camera's z axis; 0 where alpha is 0.
        info: intermediates by gsplat's names: `means2d` [*T, V, N, 2] pixels (its gradient is retained when it
            requires one), `radii` [*T, V, N, 2] pixels as integers (0 = not drawn), `depths` [*T, V, N].
    """

    colors: Float[Tensor, "*T V 3 H W"]
    alphas: Float[Tensor, "*T V 1 H W"]
    depths: Float[Tensor, "*T V 1 H W"]
    info: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("Rendering", "colors", self.colors, (None, 3, None, None))
        _check("Rendering", "alphas", self.alphas, (None, 1, None, None))
        _check("Rendering", "depths", self.depths, (None, 1, None, None))


@runtime_checkable
class Renderer(Protocol):
    """A splatter: 3D Gaussian splatting with gsplat's classic rasterisation semantics."""

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, backgrounds: Float[Tensor, "*T V 3"] | None = None
    ) -> Rendering:
        """Draws the Gaussians of each time into the cameras of that time."""
        ...
