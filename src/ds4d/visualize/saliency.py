"""Where the real video moves, as its features see it: the paper's image of the dynamic part."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import tracked
from ds4d.decoupling import DecouplingConfig, decouple, dynamic_fraction, reference_basis
from ds4d.io import contact_sheet, resize_premultiplied, write_png, write_video
from ds4d.types import FrameFeatures, MultiViewVideo
from ds4d.visualize.comparison import input_image
from ds4d.visualize.config import OutputsConfig
from ds4d.visualize.outputs import write_if_possible

_OVERLAY = 0.75  # how much of an image the strongest heat covers
_STRONGEST = 0.99  # share of the cells that lie below full heat: single cells shall not decide


def saliency_map(features: FrameFeatures, config: DecouplingConfig) -> Float[Tensor, "T h w"]:
    """How dynamic every cell of the real view is: |dynamic| / |f|, the sine of its angle to the reference, in [0, 1].

    It lights up on what moves, and also where a moving part was in the reference.
    """
    maps = features.maps[:, :1].float()
    return dynamic_fraction(decouple(maps, reference_basis(maps, config.reference)))[:, 0]


def write_saliency_map(
    fractions: Float[Tensor, "T h w"], video: MultiViewVideo, config: OutputsConfig, folder: Path
) -> Iterator[Path]:
    """Writes saliency.mp4 and saliency.png, the heat over the object in the real video, and yields their paths.

    Args:
        fractions: of every frame (`saliency_map`).
        video: whose view 0 is shown.
        config: sizes; every frame is shown as long as the clip played `slow` times slower asks.
        folder: exists.
    """
    cells = fractions.flatten()
    strongest = float(cells.kthvalue(max(1, int(_STRONGEST * len(cells)))).values.clamp_min(1e-6))
    saliency = (fractions / strongest).clamp(0, 1)
    seconds = video.duration * config.slow / video.num_times
    width, height = _even(video.frames.width, video.frames.height, config.size)
    frames = (
        _overlay(saliency[time], video, time, width, height) for time in tracked(range(video.num_times), "saliency.mp4")
    )
    path = write_if_possible(folder / "saliency.mp4", lambda path: write_video(path, frames, 1 / seconds))
    if path is not None:
        yield path
    width, height = _even(video.frames.width, video.frames.height, config.sheet_size)
    columns = torch.linspace(0, video.num_times - 1, min(config.sheet_columns, video.num_times)).round().long().tolist()
    rows = [
        [input_image(video, time, 0, width, height) for time in columns],
        [_overlay(saliency[time], video, time, width, height) for time in columns],
    ]
    labels = [f"t = {float(video.times[time]):.2f}" for time in columns]
    sheet = contact_sheet(rows, column_labels=labels, row_labels=("input", "dynamic"))
    write_png(folder / "saliency.png", sheet)
    yield folder / "saliency.png"


def _even(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height of an image `size` high, both even, as videos want them."""
    return 2 * max(1, round(size * width / height / 2)), 2 * max(1, round(size / 2))


def _overlay(
    saliency: Float[Tensor, "h w"], video: MultiViewVideo, time: int, width: int, height: int
) -> UInt8[np.ndarray, "H W 3"]:
    """One frame on white, its object under its heat: clear where nothing moves, through red to yellow.

    Features look round themselves, so cells beside the object are warm too; they would only hide its outline.
    """
    image = input_image(video, time, 0, width, height) / 255
    if not video.valid[time, 0]:
        return (image * 255).round().astype(np.uint8)
    upsampled = F.interpolate(saliency[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    coverage = resize_premultiplied(np.array(video.frames.read(time, 0)), width, height)[..., 3:] / 255
    strength = upsampled.numpy()[..., None]
    gray = image.mean(-1, keepdims=True)
    colors = np.concatenate((np.ones_like(strength), strength, np.zeros_like(strength)), axis=-1)
    faded = 0.2 * image + 0.8 * gray  # so that the heat stands out
    mixed = faded + _OVERLAY * coverage * strength * (colors - faded)
    return (mixed * 255).round().astype(np.uint8)
