"""Plots of a run."""

import math
from pathlib import Path

from PIL import Image

from ds4d.visualize import count_figure, loss_figure, plot_losses, psnr_figure, svg_bytes

LOG = [
    {"step": step, "stage": "static", "seconds": 0.1, "num_gaussians": 10 * step, "loss": 1 / step, "ssim": 0.5 / step}
    for step in range(1, 21)
]


def test_loss_curves(tmp_path: Path) -> None:
    figure = loss_figure(log := [*LOG, {"step": 21, "loss": 0.01, "sds": 0.0}])
    (axis,) = figure.axes
    curves = {line.get_label(): line.get_data() for line in axis.lines}
    assert list(curves) == ["loss", "ssim", "sds"] and axis.get_yscale() == "log"
    assert list(curves["loss"][0]) == list(range(1, 22)) and curves["ssim"][1][1] == 0.25
    plot_losses(log, tmp_path / "loss.png")
    assert len(Image.open(tmp_path / "loss.png").convert("RGB").getcolors(100_000)) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_gaussian_counts_and_psnr() -> None:
    (axis,) = count_figure(LOG).axes
    assert list(axis.lines[0].get_ydata()) == [10 * step for step in range(1, 21)] and axis.get_yscale() == "linear"
    (axis,) = psnr_figure([20.0, None, 30.0]).axes
    first, gap, last = axis.lines[0].get_ydata()
    assert (first, last) == (20.0, 30.0) and math.isnan(gap)


def test_svg_holds_every_curve() -> None:
    text = svg_bytes(loss_figure(LOG)).decode()
    assert "<svg" in text and "<!-- loss -->" in text and "<!-- ssim -->" in text
