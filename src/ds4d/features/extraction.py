"""Frame features of a multi-view video (paper: f(i,j))."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import check_choices, large_tensor, release_pages, to_dict, tracked
from ds4d.features.dinov2 import Dinov2, Dinov2Config
from ds4d.features.filters import FilterBank, FilterBankConfig
from ds4d.io import read_cached, write_cached
from ds4d.types import FrameFeatures, MultiViewVideo


@runtime_checkable
class FeatureExtractor(Protocol):
    """A frozen network or filter bank: a module that is made from its settings alone.

    Attributes:
        stride: pixels from one cell to the next, along both axes.
        channels: number of channels of its maps.
        batch_size: number of images in one call.
    """

    stride: int
    channels: int
    batch_size: int

    @staticmethod
    def is_usable(config: Any, device: torch.device) -> tuple[bool, str]:
        """Whether it may be chosen automatically, and why or why not in a few words."""
        ...

    @staticmethod
    def weights_digest(config: Any) -> str:
        """A hash that identifies the weights that these settings ask for, without loading them."""
        ...

    def __call__(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """Computes one feature vector per cell, without gradients.

        Cell (i, j) is centered at ((i + 0.5) / h, (j + 0.5) / w) of the image's height and width.

        Args:
            images: colors in [0, 1], over a plain background.
        """
        ...


# The first that is usable is what `auto` chooses.
EXTRACTORS: dict[str, type[Any]] = {"dinov2": Dinov2, "filters": FilterBank}

if TYPE_CHECKING:
    ExtractorName = str
else:
    ExtractorName = Literal[("auto", *EXTRACTORS)]

_VERSION = 1  # part of the cache's key: raise it when an extractor computes something else


@dataclass(frozen=True)
class FeaturesConfig:
    """Per-frame image features.

    Attributes:
        kind: feature extractor. `filters` is a fixed filter bank without weights, `dinov2` the paper's network; `auto`
            uses DINOv2 on a GPU if its weights are found, else filters.
        filters: settings of the filter bank.
        dinov2: settings of the network.
        cached: keep feature maps on disk and reuse them for the same images and settings.
    """

    kind: ExtractorName = "filters"
    filters: FilterBankConfig = field(default_factory=FilterBankConfig)
    dinov2: Dinov2Config = field(default_factory=Dinov2Config)
    cached: bool = True

    def __post_init__(self) -> None:
        check_choices(self, kind=("auto", *EXTRACTORS))

    @property
    def extractor(self) -> Any:
        """Settings of the extractor, which `choose_extractor` must have chosen."""
        return getattr(self, self.kind)


def choose_extractor(config: FeaturesConfig, device: torch.device) -> tuple[str, str]:
    """The extractor that is asked for or else the first usable one: its name, and a few words on the choice."""
    if config.kind != "auto":
        return config.kind, "as requested"
    passed_over = []
    for name, made in EXTRACTORS.items():
        usable, why = made.is_usable(getattr(config, name), device)
        if usable:
            return name, "; ".join([why, *passed_over])
        passed_over.append(why)
    raise AssertionError("one extractor at least is usable everywhere")


def extract_features(
    video: MultiViewVideo, config: FeaturesConfig, device: torch.device, *, views: Sequence[int] | None = None
) -> FrameFeatures:
    """Extracts the features of every image, composited on white.

    Args:
        video: multi-view video, a few images of which are in memory at a time.
        config: feature extractor.
        device: compute device.
        views: indices of the views, whose order is kept; all views if None.

    Returns:
        Maps on the CPU in half precision, zeros where a view has no image.

    Raises:
        ValueError: a view does not exist, no image is valid, a feature is not finite, or the network cannot be loaded.
        ImportError: the extractor needs a package that is not installed.
    """
    chosen = list(range(video.num_views)) if views is None else list(views)
    if not chosen or not all(0 <= view < video.num_views for view in chosen):
        raise ValueError(f"extract_features: views must be in [0, {video.num_views - 1}], got {chosen}.")
    valid = video.valid[:, chosen]
    if not valid.any():
        raise ValueError(f"extract_features: views {chosen} must have images, got none. Choose other views.")
    config = replace(config, kind=choose_extractor(config, device)[0])
    key = _key(video, config, chosen) if config.cached else None
    kept = read_cached("features", key) if key else None
    maps = kept.get("maps") if kept else None
    # The cache may hold a file of the right name that something else has written.
    if maps is None or maps.dtype != torch.half or maps.ndim != 5 or maps.shape[:2] != valid.shape:
        maps = _extract(video, config, device, chosen)
        if key:
            write_cached("features", key, {"maps": maps})
    return FrameFeatures(maps, valid.cpu())


def _pairs(video: MultiViewVideo, chosen: list[int]) -> Int[Tensor, "B 2"]:
    """Rows (time, index into `chosen`) of the images that exist."""
    return video.valid[:, chosen].cpu().nonzero()


def _key(video: MultiViewVideo, config: FeaturesConfig, chosen: list[int]) -> str:
    """Hash of everything that the maps depend on."""
    record = {
        "version": _VERSION,
        "kind": config.kind,
        "settings": to_dict(config.extractor),
        "weights": EXTRACTORS[config.kind].weights_digest(config.extractor),
        "size": [video.frames.height, video.frames.width],
        "valid": video.valid[:, chosen].tolist(),
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for time, index in _pairs(video, chosen).tolist():
        digest.update(video.frames.read(time, chosen[index]).tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _extract(
    video: MultiViewVideo, config: FeaturesConfig, device: torch.device, chosen: list[int]
) -> Float[Tensor, "T V C h w"]:
    extractor = EXTRACTORS[config.kind](config.extractor).to(device)
    maps: Tensor | None = None
    parts = _pairs(video, chosen).split(extractor.batch_size)
    for part in tracked(parts, "extracting features"):
        times, indices = part.unbind(1)
        views = torch.tensor(chosen)[indices]
        batch = video.gather(times, views)
        images = batch.composite(torch.ones(len(times), 3))
        found = extractor(images.to(device)).half().cpu()
        _check_finite(found, times, [video.view_names[view] for view in views.tolist()])
        if maps is None:
            maps = large_tensor((video.num_times, len(chosen), *found.shape[1:]), found.dtype)
        maps[times, indices] = found
        release_pages()
    assert maps is not None
    return maps


def _check_finite(maps: Float[Tensor, "B C h w"], times: Int[Tensor, " B"], names: Sequence[str]) -> None:
    broken = ~maps.flatten(1).isfinite().all(1)
    if broken.any():
        first = int(broken.nonzero()[0])
        raise ValueError(
            f"features of view {names[first]!r}, frame {int(times[first])}, must be finite in half precision, got NaN "
            "or infinity. Check that image, and the weights of the extractor."
        )
