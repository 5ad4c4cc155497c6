"""Saliency map of motion: the dynamic fraction of the input view's features (DSFD), over its frames."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import released, tracked
from ds4d.decoupling import DecouplingConfig, decouple, dynamic_fraction, references_of_segments
from ds4d.io import contact_sheet, resize_premultiplied, write_png, write_video
from ds4d.types import FrameFeatures, MultiViewVideo
from ds4d.visualize.comparison import input_image
from ds4d.visualize.config import OutputsConfig
from ds4d.visualize.outputs import write_if_possible

LEGEND_HEIGHT = 28  # pixels, below the contact sheet
_MAX_COVERAGE = 0.75  # opacity of the strongest saliency over the image
_QUANTILE = 0.99  # fraction of the cells below full saliency: a few outliers must not set the scale
_BAR_WIDTH, _LEGEND_GRAY = 120, 0.75  # pixels; brightness behind the color bar
_TEXT_COLOR = (40, 40, 40)
_FRAMES_AT_ONCE = 16  # decoupled together, in single precision


def saliency_map(features: FrameFeatures, config: DecouplingConfig) -> Float[Tensor, "T h w"]:
    """The dynamic fraction of each cell of the input view: |dynamic| / |f|, the sine of its angle to the reference.

    It is high where something moves, and where a moving part was in the reference.

    Returns:
        Dynamic fractions in [0, 1].
    """
    maps = features.maps[:, :1]
    fractions = []
    for rows, basis in references_of_segments(maps, config):
        for part in released(maps[rows]):
            for frames in part.split(_FRAMES_AT_ONCE):
                fractions.append(dynamic_fraction(decouple(frames.float(), basis))[:, 0])
    return torch.cat(fractions)


def write_saliency_map(
    fractions: Float[Tensor, "T h w"], video: MultiViewVideo, config: OutputsConfig, folder: Path
) -> Iterator[Path]:
    """Writes saliency.mp4 and saliency.png, the saliency map over the frames of the input view; yields their paths.

    Args:
        fractions: dynamic fractions of all frames, from `saliency_map`.
        video: the training views; view 0 is shown.
        config: sizes, and the slow-motion factor of the video.
        folder: an existing folder.
    """
    cells = fractions.flatten()
    strongest = float(cells.kthvalue(max(1, int(_QUANTILE * len(cells)))).values.clamp_min(1e-6))
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
    sheet = contact_sheet(rows, column_labels=labels, row_labels=("input", "saliency"))
    write_png(folder / "saliency.png", _with_legend(sheet, strongest))
    yield folder / "saliency.png"


def _even(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height of an image `size` pixels high, both even, as video codecs need them."""
    return 2 * max(1, round(size * width / height / 2)), 2 * max(1, round(size / 2))


def _overlay(
    saliency: Float[Tensor, "h w"], video: MultiViewVideo, time: int, width: int, height: int
) -> UInt8[np.ndarray, "H W 3"]:
    """One frame on white with the saliency over its object.

    Features have a receptive field, so cells beside the object are salient too; they would only hide its outline.
    """
    image = input_image(video, time, 0, width, height) / 255
    if not video.valid[time, 0]:
        return _to_bytes(image)
    upsampled = F.interpolate(saliency[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    coverage = resize_premultiplied(np.array(video.frames.read(time, 0)), width, height)[..., 3:] / 255
    gray = image.mean(-1, keepdims=True)
    return _to_bytes(_colored(0.2 * image + 0.8 * gray, upsampled.numpy()[..., None], coverage))


def _colored(
    faded: Float[np.ndarray, "H W #C"], strength: Float[np.ndarray, "H W 1"], coverage: Float[np.ndarray, "#H #W 1"]
) -> Float[np.ndarray, "H W 3"]:
    """Strengths in [0, 1] over a faded image: transparent, then red, then yellow."""
    colors = np.concatenate((np.ones_like(strength), strength, np.zeros_like(strength)), axis=-1)
    return faded + _MAX_COVERAGE * coverage * strength * (colors - faded)


def _with_legend(sheet: UInt8[np.ndarray, "h w 3"], strongest: float) -> UInt8[np.ndarray, "H W 3"]:
    """A contact sheet above a color bar from 0 to the strongest dynamic fraction."""
    font, gap = ImageFont.load_default(LEGEND_HEIGHT // 2), LEGEND_HEIGHT // 4
    before, after = "static 0", f"{strongest:.2f} dynamic fraction"
    left = 2 * gap + round(font.getlength(before))
    right = left + _BAR_WIDTH + gap
    width = max(sheet.shape[1], right + round(font.getlength(after)) + gap)
    image = Image.new("RGB", (width, len(sheet) + LEGEND_HEIGHT), "white")
    image.paste(Image.fromarray(sheet))
    strength = np.linspace(0, 1, _BAR_WIDTH)[None, :, None].repeat(LEGEND_HEIGHT // 2, 0)
    bar = _to_bytes(_colored(np.full_like(strength, _LEGEND_GRAY), strength, np.ones_like(strength)))
    image.paste(Image.fromarray(bar), (left, len(sheet) + gap))
    draw, middle = ImageDraw.Draw(image), len(sheet) + LEGEND_HEIGHT // 2
    draw.text((left - gap, middle), before, _TEXT_COLOR, font, anchor="rm")
    draw.text((right, middle), after, _TEXT_COLOR, font, anchor="lm")
    return np.array(image)


def _to_bytes(image: Float[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return (image * 255).round().astype(np.uint8)
