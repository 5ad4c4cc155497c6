"""The decoupled features of all frames and views, with their cameras: what the fusion reads at any time."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ds4d.core import large_tensor, release_pages
from ds4d.decoupling import (
    DecouplingConfig,
    LearnedReference,
    check_static_cameras,
    decouple,
    reference_of_all,
    references_of_segments,
)
from ds4d.fusion import FusionConfig, Tssf, mean_over_views, pca_projection, standardize
from ds4d.geometry import nearest_frames
from ds4d.scene.dynamic_shares import dynamic_shares
from ds4d.types import Cameras, FrameFeatures, MultiViewVideo

_CLAMP = 1000.0  # standard deviations: a nearly constant channel must not overflow half precision


@dataclass(frozen=True)
class FrameObservation:
    """What all views show at B times, as the fusion reads it.

    Attributes:
        maps: decoupled feature maps; with a learned reference, the features that it decouples.
        valid: 1 where the view has an image, 0 where it has none; in between when blended.
        distance_maps: maps that the rule `distance` compares views by; None for other rules.
        depths: rendered depth images that the rule `visible` tests points against, along the camera's z axis, 0 where
            nothing is rendered; None for other rules.
        warps: warp grids of the view correction (`fusion.sample_at_points`), half image sizes; None without one.
        shares: dynamic shares (`dynamic_shares`), which gate the deformation; None without a gate.
    """

    maps: Float[Tensor, "B V D h w"]
    valid: Float[Tensor, "B V"]
    distance_maps: Float[Tensor, "B V E h w"] | None = None
    depths: Float[Tensor, "B V 1 _ _"] | None = None
    warps: Float[Tensor, "B V 2 _ _"] | None = None
    shares: Float[Tensor, "B V 1 h w"] | None = None


class FrameFeatureCache(nn.Module):
    """Feature maps of every frame and view, and what the fusion reads beside them.

    Only `depths`, `warps` and a learned reference change during training and belong to the state; the rest is computed
    from the video.

    Args:
        maps: decoupled features, half precision; with a learned reference, the features that it decouples.
        valid: 1 where the view has an image, else 0.
        times: frame times, rising in [0, 1].
        cameras: one camera per view [V], in the world of the points to be projected.
        distance_maps: maps that the rule `distance` compares views by, or None.
        depths: rendered depth images for the rule `visible`, or None.
        warps: warp grids of the view correction, or None (`FrameObservation`).
        shares: dynamic shares in half precision, or None.
        reference: learned reference, or None for maps that are decoupled.
    """

    maps: Tensor
    valid: Tensor
    times: Tensor
    viewmats: Tensor
    Ks: Tensor
    distance_maps: Tensor | None
    depths: Tensor | None
    warps: Tensor | None
    shares: Tensor | None

    def __init__(
        self,
        maps: Float[Tensor, "T V D h w"],
        valid: Float[Tensor, "T V"],
        times: Float[Tensor, " T"],
        cameras: Cameras,
        distance_maps: Float[Tensor, "T V E h w"] | None = None,
        depths: Float[Tensor, "T V 1 _ _"] | None = None,
        warps: Float[Tensor, "T V 2 _ _"] | None = None,
        shares: Float[Tensor, "T V 1 _ _"] | None = None,
        reference: LearnedReference | None = None,
    ) -> None:
        super().__init__()
        self.width, self.height = cameras.width, cameras.height
        fixed = {"maps": maps, "valid": valid, "times": times, "distance_maps": distance_maps, "shares": shares}
        for name, tensor in {**fixed, "viewmats": cameras.viewmats, "Ks": cameras.Ks}.items():
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("depths", depths)
        self.register_buffer("warps", warps)
        self.reference = reference

    @property
    def num_channels(self) -> int:
        """D, number of channels of the decoupled features."""
        return self.maps.shape[2] if self.reference is None else len(self.reference.offset)

    def decoupled(self, maps: Float[Tensor, "B V _ h w"]) -> Float[Tensor, "B V D h w"]:
        """The decoupled features of maps of the cache: themselves, unless their reference is learned."""
        return maps if self.reference is None else self.reference(maps)

    @property
    def cameras(self) -> Cameras:
        """One camera per view [V]."""
        return Cameras(self.viewmats, self.Ks, self.width, self.height)

    @property
    def observed(self) -> dict[str, Tensor]:
        """The tensors of `FrameObservation` that the cache holds, of all frames [T, V, ...], by name."""
        tensors = {field.name: getattr(self, field.name) for field in fields(FrameObservation)}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def at_frames(self, rows: Int[Tensor, " B"]) -> FrameObservation:
        """The observation of the frames with these indices."""
        observed = {name: tensor.index_select(0, rows) for name, tensor in self.observed.items()}
        release_pages()
        return FrameObservation(**observed)

    def at(self, times: Float[Tensor, " B"]) -> FrameObservation:
        """The observation at any times in [0, 1], interpolated between the two nearest frames.

        A view without an image in one of the two shows what it has in the other.
        """
        low, high, weight = nearest_frames(self.times, times)
        weight = weight[:, None].expand(-1, self.valid.shape[1])
        first, second = (1 - weight) * self.valid[low], weight * self.valid[high]
        valid_weight = second / (first + second).clamp_min(1e-12)
        blended = {}
        for name, tensor in self.observed.items():
            blend = _blend_depths if name == "depths" else _blend
            of_images = name in ("maps", "distance_maps", "shares")
            blended[name] = blend(
                tensor.index_select(0, low), tensor.index_select(0, high), valid_weight if of_images else weight
            )
        release_pages()
        return FrameObservation(**blended)

    def fuse(self, tssf: Tssf, points: Float[Tensor, "B N 3"], observation: FrameObservation) -> Float[Tensor, "B N C"]:
        """The fused features of points (paper: a(i)).

        Args:
            tssf: fusion module made for these maps.
            points: Gaussian centers at B times, in the cameras' world.
            observation: what the views show at these times, from `at` or `at_frames`.
        """
        return tssf(
            self.decoupled(observation.maps),
            points,
            self.cameras,
            valid=observation.valid,
            distance_maps=observation.distance_maps,
            depths=observation.depths,
            warps=observation.warps,
        )

    @torch.no_grad()
    def share(
        self, tssf: Tssf, points: Float[Tensor, "B N 3"], observation: FrameObservation
    ) -> Float[Tensor, "B N 1"]:
        """The dynamic share of points, mean over the views that see them; 1 where none does: nothing is known there.

        Args:
            tssf: fusion module, which decides how visibility is tested.
            points: Gaussian centers at B times, in the cameras' world.
            observation: what the views show at these times, with shares.
        """
        assert observation.shares is not None  # the field has a gate
        return mean_over_views(
            observation.shares.float(),
            points,
            self.cameras,
            valid=observation.valid,
            depths=observation.depths,
            warps=observation.warps,
            tolerance=tssf.config.tolerance,
            otherwise=1.0,
        )

    @torch.no_grad()
    def update_depths(
        self, rows: Int[Tensor, " B"], depths: Float[Tensor, "B K 1 _ _"], views: Int[Tensor, "B K"] | None = None
    ) -> None:
        """Replaces the depth images of some frames.

        Args:
            rows: frame indices.
            depths: rendered depths along the camera's z axis; 0 where nothing is rendered.
            views: the views of each frame whose images these are; None for all.

        Raises:
            ValueError: the fusion rule uses no depth images.
        """
        if self.depths is None:
            raise ValueError("update_depths: the fusion rule must be `visible`, got one without depth images.")
        if views is None:
            self.depths[rows] = depths.to(self.depths.dtype)
        else:
            self.depths[rows[:, None], views] = depths.to(self.depths.dtype)

    @torch.no_grad()
    def update_warps(self, warps: Float[Tensor, "T V 2 _ _"]) -> None:
        """Replaces the warp grids of all frames and views."""
        self.warps = warps.detach()

    def folded(self, tssf: Tssf) -> "FrameFeatureCache":
        """The cache with the learned linear map applied to its maps, in half precision: all that rendering needs."""
        with torch.no_grad():
            maps = _stacked(self.maps, lambda frame: tssf.reduced(self.decoupled(frame[None])[0]).half())
        return FrameFeatureCache(
            maps, self.valid, self.times, self.cameras, self.distance_maps, self.depths, self.warps, self.shares
        )

    def fixed(self) -> dict[str, Tensor]:
        """The tensors that training leaves unchanged, by name."""
        return {name: tensor for name, tensor in self.named_buffers() if name not in ("depths", "warps")}


def cache_video_features(
    video: MultiViewVideo,
    features: FrameFeatures,
    decoupling: DecouplingConfig,
    fusion: FusionConfig,
    *,
    with_shares: bool = False,
) -> FrameFeatureCache:
    """`cache_features` of a multi-view video with static cameras.

    Args:
        video: multi-view video with cameras in normalized space.
        features: frame features of all frames and views.
        decoupling: reference of the decoupling.
        fusion: fusion rule, which decides what is stored beside the maps.
        with_shares: whether dynamic shares are stored, for a field with a gate.

    Raises:
        ValueError: a camera moves, or the features are not finite or belong to another video.
    """
    check_static_cameras(video.cameras)
    cameras = video.cameras.at_time(0)
    return cache_features(features, video.times, cameras, decoupling, fusion, with_shares=with_shares)


def cache_features(
    features: FrameFeatures,
    times: Float[Tensor, " T"],
    cameras: Cameras,
    decoupling: DecouplingConfig,
    fusion: FusionConfig,
    *,
    with_shares: bool = False,
) -> FrameFeatureCache:
    """Decouples frame features (DSFD) and standardizes them for the fusion.

    Channels get mean 0 and standard deviation 1 over all frames and views, so that features of any extractor have one
    scale; the learned linear map of the fusion could undo it.

    Args:
        features: frame features of all frames and views.
        times: frame times, rising in [0, 1].
        cameras: one camera per view [V], in the world of the points to be projected.
        decoupling: reference of the decoupling.
        fusion: fusion rule, which decides what is stored beside the maps.
        with_shares: whether dynamic shares are stored, for a field with a gate.

    Raises:
        ValueError: the features do not belong to these times and views, or are not finite.
    """
    _check_belongs(features, len(times), cameras.num_views)
    _check_finite(features)
    content = _decoupled_maps(features.maps, decoupling)
    offset, factor = (part[:, None, None] for part in standardize(content, features.valid))
    for frame in content:  # in place, frame by frame: the maps of a long clip are large
        frame.copy_(((frame.float() - offset) * factor).clamp(-_CLAMP, _CLAMP))
        release_pages()
    distance_maps = _distance_maps(features, fusion.distance_channels) if fusion.needs_distances else None
    depths = None
    if fusion.needs_depths:
        width = max(1, round(fusion.depth_size * cameras.width / cameras.height))
        depths = large_tensor((len(times), cameras.num_views, 1, fusion.depth_size, width), torch.half)
    shares = dynamic_shares(features, decoupling).half() if with_shares else None
    reference = None
    if decoupling.reference == "learned" and decoupling.enabled:
        start = reference_of_all(features.maps, decoupling.reference)[0]
        reference, content = LearnedReference(start, offset, factor, _CLAMP), _stacked(features.maps, Tensor.half)
    valid = features.valid.float()
    return FrameFeatureCache(content, valid, times, cameras, distance_maps, depths, shares=shares, reference=reference)


def _check_belongs(features: FrameFeatures, num_times: int, num_views: int) -> None:
    if features.maps.shape[:2] != (num_times, num_views):
        raise ValueError(
            f"features must be those of {num_times} frames and {num_views} views, got {features.maps.shape[0]} frames "
            f"and {features.maps.shape[1]} views. Extract them from the same video."
        )


def _check_finite(features: FrameFeatures) -> None:
    for time, maps in enumerate(features.maps):
        broken = ~maps.flatten(1).isfinite().all(1)
        if broken.any():
            raise ValueError(
                f"features of frame {time}, view {int(broken.nonzero()[0])}, must be finite, got NaN or infinity. "
                "Extract them again."
            )
        release_pages()


def _blend(
    first: Float[Tensor, "B V *rest"], second: Float[Tensor, "B V *rest"], weight: Float[Tensor, "B V"]
) -> Float[Tensor, "B V *rest"]:
    weight = weight.to(first.dtype).reshape(*weight.shape, *[1] * (first.ndim - 2))
    return torch.lerp(first, second, weight.expand_as(first))


def _blend_depths(
    first: Float[Tensor, "B V 1 h w"], second: Float[Tensor, "B V 1 h w"], weight: Float[Tensor, "B V"]
) -> Float[Tensor, "B V 1 h w"]:
    """Blends depths; where one of the two is empty (0), takes the nearer frame's: no surface is half-way to 0."""
    nearer = torch.where(weight[..., None, None, None] < 0.5, first, second)
    return torch.where((first > 0) == (second > 0), _blend(first, second, weight), nearer)


def _decoupled_maps(maps: Float[Tensor, "T V C h w"], config: DecouplingConfig) -> Float[Tensor, "T V D h w"]:
    """The maps and their dynamic parts, concatenated; half precision, computed image by image in single precision."""
    num_times, num_views, channels, *cells = maps.shape
    content = large_tensor(
        (num_times, num_views, channels * (2 if config.enabled else 1), *cells), torch.half, maps.device
    )
    if not config.enabled:
        for frame, kept in zip(maps, content, strict=True):
            kept.copy_(frame)
            release_pages()
        return content
    for view in range(num_views):
        single, made = maps[:, view : view + 1], content[:, view : view + 1]
        for rows, basis in references_of_segments(single, config):
            for frame, decoupled in zip(single[rows].split(1), made[rows].split(1), strict=True):
                decoupled.copy_(decouple(frame.float(), basis).decoupled)
                release_pages()
    return content


def _distance_maps(features: FrameFeatures, channels: int) -> Float[Tensor, "T V E h w"]:
    projection = pca_projection(features.maps, features.valid, channels)
    return _stacked(features.maps, lambda maps: torch.einsum("ec,vchw->vehw", projection, maps.float()).half())


def _stacked(maps: Float[Tensor, "T V C h w"], change: Callable[[Tensor], Tensor]) -> Float[Tensor, "T V D h w"]:
    """The maps of all frames, each changed by itself; large if they are."""
    first = change(maps[0])
    out = large_tensor((len(maps), *first.shape), first.dtype, first.device)
    for changed, frame in zip(out, maps, strict=True):
        changed.copy_(change(frame))
        release_pages()
    return out
