"""The decoupled features of a whole clip, with the cameras that saw them: what the fusion reads at any time."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ds4d.decoupling import DecouplingConfig, check_still_cameras, decouple, reference_basis
from ds4d.fusion import FusionConfig, Tssf, principal_map, standardize
from ds4d.geometry import nearest_frames
from ds4d.types import Cameras, FrameFeatures, MultiViewVideo

_FARTHEST = 1000.0  # deviations: a channel that hardly ever changes must not pass the end of half precision


class FrameFeatureCache(nn.Module):
    """Feature maps of every frame and view, and what the object as drawn hides from each view.

    Only `depths` and `shifts` change during a fit and so belong to its state; the rest is made anew from the clip.

    Args:
        maps: decoupled features, half precision.
        valid: 1 where the view has an image, else 0.
        times: of the frames, rising in [0, 1].
        cameras: of the views [V], inner world.
        distance_maps: what views are compared by, or None.
        depths: depth images, or None where the rule does not ask what hides a point.
        shifts: how the views' images are warped, as the fit has found (`fusion.sample_at_points`), or None.
    """

    maps: Tensor
    valid: Tensor
    shifts: Tensor | None
    times: Tensor
    viewmats: Tensor
    Ks: Tensor
    distance_maps: Tensor | None
    depths: Tensor | None

    def __init__(
        self,
        maps: Float[Tensor, "T V D h w"],
        valid: Float[Tensor, "T V"],
        times: Float[Tensor, " T"],
        cameras: Cameras,
        distance_maps: Float[Tensor, "T V E h w"] | None = None,
        depths: Float[Tensor, "T V 1 _ _"] | None = None,
        shifts: Float[Tensor, "T V 2 _ _"] | None = None,
    ) -> None:
        super().__init__()
        self.width, self.height = cameras.width, cameras.height
        fixed = {"maps": maps, "valid": valid, "times": times, "distance_maps": distance_maps}
        for name, tensor in {**fixed, "viewmats": cameras.viewmats, "Ks": cameras.Ks}.items():
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("depths", depths)
        self.register_buffer("shifts", shifts)

    @property
    def cameras(self) -> Cameras:
        """Of the views [V]."""
        return Cameras(self.viewmats, self.Ks, self.width, self.height)

    @property
    def names(self) -> list[str]:
        """What changes over time: maps and valid, and of distance_maps, depths and shifts those that there are."""
        optional = ("distance_maps", "depths", "shifts")
        return ["maps", "valid", *(name for name in optional if getattr(self, name) is not None)]

    def at_frames(self, rows: Int[Tensor, " B"]) -> tuple[Tensor, ...]:
        """What there is of `names`, in that order, of some frames; each with a leading axis B."""
        return tuple(getattr(self, name).index_select(0, rows) for name in self.names)

    def at(self, times: Float[Tensor, " B"]) -> tuple[Tensor, ...]:
        """As `at_frames`, at any times in [0, 1]: the two nearest frames' blended; a frame's own at its time.

        A view without an image in one of the two shows what it has in the other.
        """
        low, high, share = nearest_frames(self.times, times)
        share = share[:, None].expand(-1, self.valid.shape[1])
        first, second = (1 - share) * self.valid[low], share * self.valid[high]
        lent = second / (first + second).clamp_min(1e-12)
        parts = []
        for name in self.names:
            tensor = getattr(self, name)
            blend = _blend_depths if name == "depths" else _blend
            weight = lent if name in ("maps", "distance_maps") else share
            parts.append(blend(tensor.index_select(0, low), tensor.index_select(0, high), weight))
        return tuple(parts)

    def fuse(self, tssf: Tssf, points: Float[Tensor, "B N 3"], *seen: Tensor) -> Float[Tensor, "B N C"]:
        """The fused features of points (paper: a(i)).

        Args:
            tssf: made for these maps.
            points: centers at B times, in the cameras' world.
            seen: of these times, as `at` or `at_frames` gives them.
        """
        parts = dict(zip(self.names, seen, strict=True))
        return tssf(parts.pop("maps"), points, self.cameras, **parts)

    def folded(self, tssf: Tssf) -> "FrameFeatureCache":
        """The maps after the learned map, in half precision: all that a finished fit needs of them."""
        with torch.no_grad():
            maps = torch.stack([tssf.reduced(frame).half() for frame in self.maps])
        return FrameFeatureCache(
            maps, self.valid, self.times, self.cameras, self.distance_maps, self.depths, self.shifts
        )

    def fixed(self) -> dict[str, Tensor]:
        """The tensors that are no part of the state, by name."""
        return {name: tensor for name, tensor in self.named_buffers() if name not in ("depths", "shifts")}


def cache_video_features(
    video: MultiViewVideo, features: FrameFeatures, decoupling: DecouplingConfig, fusion: FusionConfig
) -> FrameFeatureCache:
    """`cache_features` of a clip whose cameras stand still.

    Args:
        video: with cameras in the inner world.
        features: of all its frames and views.
        decoupling: the reference.
        fusion: says what besides the maps the rule needs.

    Raises:
        ValueError: a camera moves, or the features are not finite or not of this clip.
    """
    check_still_cameras(video.cameras)
    return cache_features(features, video.times, video.cameras.at_time(0), decoupling, fusion)


def cache_features(
    features: FrameFeatures,
    times: Float[Tensor, " T"],
    cameras: Cameras,
    decoupling: DecouplingConfig,
    fusion: FusionConfig,
) -> FrameFeatureCache:
    """Decouples a clip's frame features (DSFD) and makes them ready to be fused.

    Channels are brought to mean 0 and deviation 1 over the clip, a fixed map that the learned one could undo: features
    of any extractor then come at one scale, and 0 stands for the usual.

    Args:
        features: of all frames and views.
        times: of the frames, rising in [0, 1].
        cameras: of the views [V], in the world of the points that will be projected.
        decoupling: the reference.
        fusion: says what besides the maps the rule needs.

    Raises:
        ValueError: the features are not of these times and views, or not finite.
    """
    _check_belongs(features, len(times), cameras.num_views)
    _check_finite(features)
    views = [_decoupled(features.maps[:, view : view + 1], decoupling) for view in range(cameras.num_views)]
    content = torch.cat(views, dim=1)
    offset, factor = (part[:, None, None] for part in standardize(content, features.valid))
    for frame in content:  # in place, frame by frame: the maps of a long clip are large
        frame.copy_(((frame.float() - offset) * factor).clamp(-_FARTHEST, _FARTHEST))
    distance_maps = _distance_maps(features, fusion.distance_channels) if fusion.rule == "distance" else None
    depths = None
    if fusion.rule == "visible":
        width = max(1, round(fusion.depth_size * cameras.width / cameras.height))
        depths = torch.zeros(len(times), cameras.num_views, 1, fusion.depth_size, width, dtype=torch.half)
    return FrameFeatureCache(content, features.valid.float(), times, cameras, distance_maps, depths)


def _check_belongs(features: FrameFeatures, num_times: int, num_views: int) -> None:
    """Refuses features of another clip."""
    if features.maps.shape[:2] != (num_times, num_views):
        raise ValueError(
            f"features must be of the clip's {num_times} frames and {num_views} views, got those of "
            f"{features.maps.shape[0]} frames and {features.maps.shape[1]} views. Extract them again."
        )


def _check_finite(features: FrameFeatures) -> None:
    for time, maps in enumerate(features.maps):
        broken = ~maps.flatten(1).isfinite().all(1)
        if broken.any():
            raise ValueError(
                f"features of frame {time}, view {int(broken.nonzero()[0])}, must be finite, got NaN or infinity. "
                "Extract them again."
            )


def _blend(
    first: Float[Tensor, "B V *rest"], second: Float[Tensor, "B V *rest"], weight: Float[Tensor, "B V"]
) -> Float[Tensor, "B V *rest"]:
    weight = weight.to(first.dtype).reshape(*weight.shape, *[1] * (first.ndim - 2))
    return torch.lerp(first, second, weight.expand_as(first))


def _blend_depths(
    first: Float[Tensor, "B V 1 h w"], second: Float[Tensor, "B V 1 h w"], weight: Float[Tensor, "B V"]
) -> Float[Tensor, "B V 1 h w"]:
    """Where one frame shows nothing, which is depth 0, half-way is no surface half-way to the camera."""
    nearer = torch.where(weight[..., None, None, None] < 0.5, first, second)
    return torch.where((first > 0) == (second > 0), _blend(first, second, weight), nearer)


def _decoupled(maps: Float[Tensor, "T 1 C h w"], config: DecouplingConfig) -> Float[Tensor, "T 1 D h w"]:
    """One view's maps with their dynamic part behind them, in half precision; computed in single precision."""
    if not config.enabled:
        return maps.half()
    single = maps.float()
    return decouple(single, reference_basis(single, config.reference)).decoupled.half()


def _distance_maps(features: FrameFeatures, channels: int) -> Float[Tensor, "T V E h w"]:
    projection = principal_map(features.maps, features.valid, channels)
    return torch.stack([torch.einsum("ec,vchw->vehw", projection, maps.float()).half() for maps in features.maps])
