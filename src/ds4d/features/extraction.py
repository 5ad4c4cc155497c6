"""Frame features of a whole clip (paper: f(i,j))."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import to_dict, tracked
from ds4d.features.dinov2 import Dinov2, Dinov2Config
from ds4d.features.filters import FilterBank, FilterBankConfig
from ds4d.io import read_cached, write_cached
from ds4d.types import FrameFeatures, MultiViewVideo


@runtime_checkable
class FeatureExtractor(Protocol):
    """A frozen network or filter bank, a module that is made from its settings alone.

    Attributes:
        stride: pixels from one cell to the next, along both axes.
        channels: of its maps.
        batch_size: images to give it at a time.
    """

    stride: int
    channels: int
    batch_size: int

    @staticmethod
    def weights_digest(config: Any) -> str:
        """What tells the weights that these settings ask for from any others, without loading them."""
        ...

    def __call__(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """One vector per cell, without gradients.

        Cell (i, j) is centered at ((i + 0.5) / h, (j + 0.5) / w) of the image's height and width.

        Args:
            images: colors in [0, 1], over a plain background.
        """
        ...


EXTRACTORS: dict[str, type[Any]] = {"filters": FilterBank, "dinov2": Dinov2}

_VERSION = 1  # of the maps for given images and settings: raise it when an extractor computes something else


@dataclass(frozen=True)
class FeaturesConfig:
    """What the frame features are.

    Attributes:
        kind: a key of `EXTRACTORS`: `filters` needs no weights, `dinov2` is the paper's.
        filters: the filter bank.
        dinov2: the network.
        cached: whether maps are kept on disk and found again for the same images and settings.
    """

    kind: Literal["filters", "dinov2"] = "filters"
    filters: FilterBankConfig = field(default_factory=FilterBankConfig)
    dinov2: Dinov2Config = field(default_factory=Dinov2Config)
    cached: bool = True


def extract_features(
    video: MultiViewVideo, config: FeaturesConfig, device: torch.device, *, views: Sequence[int] | None = None
) -> FrameFeatures:
    """What the extractor sees in every image of a clip, composited on white.

    Args:
        video: the clip; a few images are in memory at a time.
        config: the extractor.
        device: where it computes.
        views: of which views, in this order; all of them where it is left out.

    Returns:
        Maps on the CPU in half precision, zeros where a view has no image.

    Raises:
        ValueError: there is no such view, nothing is valid, a feature is not finite, or the network cannot be loaded.
        ImportError: the extractor needs a package that is not installed.
    """
    chosen = list(range(video.num_views)) if views is None else list(views)
    if not chosen or not all(0 <= view < video.num_views for view in chosen):
        raise ValueError(f"extract_features: views must be some of 0 to {video.num_views - 1}, got {chosen}.")
    valid = video.valid[:, chosen]
    if not valid.any():
        raise ValueError(f"extract_features: views {chosen} must have images, got none. Choose other views.")
    key = _key(video, config, chosen) if config.cached else None
    kept = read_cached("features", key) if key else None
    maps = kept["maps"] if kept else None
    if maps is None:
        maps = _extract(video, config, device, chosen)
        if key:
            write_cached("features", key, {"maps": maps})
    return FrameFeatures(maps, valid.cpu())


def _extractor_config(config: FeaturesConfig) -> FilterBankConfig | Dinov2Config:
    return {"filters": config.filters, "dinov2": config.dinov2}[config.kind]


def _pairs(video: MultiViewVideo, chosen: list[int]) -> Int[Tensor, "B 2"]:
    """Rows (time, place in `chosen`) of the images that exist."""
    return video.valid[:, chosen].cpu().nonzero()


def _key(video: MultiViewVideo, config: FeaturesConfig, chosen: list[int]) -> str:
    """The hash of all that the maps depend on."""
    settings = _extractor_config(config)
    record = {
        "version": _VERSION,
        "kind": config.kind,
        "settings": to_dict(settings),
        "weights": EXTRACTORS[config.kind].weights_digest(settings),
        "size": [video.frames.height, video.frames.width],
        "valid": video.valid[:, chosen].tolist(),
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for time, place in _pairs(video, chosen).tolist():
        digest.update(video.frames.read(time, chosen[place]).tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _extract(
    video: MultiViewVideo, config: FeaturesConfig, device: torch.device, chosen: list[int]
) -> Float[Tensor, "T V C h w"]:
    extractor = EXTRACTORS[config.kind](_extractor_config(config)).to(device)
    maps: Tensor | None = None
    parts = _pairs(video, chosen).split(extractor.batch_size)
    for part in tracked(parts, "looking at the images"):
        times, places = part.unbind(1)
        views = torch.tensor(chosen)[places]
        batch = video.gather(times, views)
        images = batch.composite(torch.ones(len(times), 3))
        found = extractor(images.to(device)).half().cpu()
        _check_finite(found, times, [video.view_names[view] for view in views.tolist()])
        if maps is None:
            maps = found.new_zeros(video.num_times, len(chosen), *found.shape[1:])
        maps[times, places] = found
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
