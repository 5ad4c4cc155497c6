"""Plots of a run: losses, number of Gaussians, PSNR by frame."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds4d.io import atomic_path
from ds4d.training import loss_names, over_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[Sequence[float | int], Sequence[float | int | None]]  # x and y; None leaves a gap

_INCHES = (4.4, 2.9)  # at the width of a phone, labels are as large as the text of a page
_DPI = 200
_LEGEND_COLUMNS = 3
_TICKS = 5  # of an axis, about


def loss_figure(log: Sequence[Mapping[str, Any]]) -> "Figure":
    """The loss and its terms over the steps, on a logarithmic axis.

    Args:
        log: entries of a `LossLog`; not every entry needs every loss, and losses of 0 leave gaps.
    """
    curves: dict[str, Curve] = {name: over_steps(log, name) for name in loss_names(log)}
    return _plot(curves, xlabel="step", ylabel="loss", yscale="log")


def count_figure(log: Sequence[Mapping[str, Any]]) -> "Figure":
    """The number of Gaussians over the steps.

    Args:
        log: entries of a `LossLog`.
    """
    return _plot({"Gaussians": over_steps(log, "num_gaussians")}, xlabel="step", ylabel="Gaussians")


def psnr_figure(scores: Sequence[float | None]) -> "Figure":
    """The PSNR of every frame in dB; None leaves a gap."""
    return _plot({"PSNR": (range(len(scores)), scores)}, xlabel="frame", ylabel="PSNR (dB)", marker=".")


def plot_losses(log: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Writes `loss_figure` to a file, atomically; its ending chooses the format (.png, .svg, .pdf)."""
    with atomic_path(path) as temporary:
        loss_figure(log).savefig(temporary, dpi=_DPI)


def svg_bytes(figure: "Figure") -> bytes:
    """A figure as an SVG file, the same bytes each time."""
    import matplotlib

    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ds4d"}):  # otherwise the ids in the file are random
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _plot(
    curves: Mapping[str, Curve], *, xlabel: str, ylabel: str, yscale: str = "linear", marker: str | None = None
) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    # Fixed margins, plain numbers and few ticks: a layout engine would draw everything twice, mathtext is slow, and
    # ticks, of five objects each, take more time than all curves.
    rows = math.ceil(len(curves) / _LEGEND_COLUMNS) if len(curves) > 1 else 0
    figure = Figure(figsize=_INCHES)
    axis = figure.subplots(gridspec_kw={"left": 0.2, "right": 0.97, "bottom": 0.17, "top": 0.95 - 0.07 * rows})
    for name, (x, y) in curves.items():
        axis.plot(x, [float("nan") if value is None else value for value in y], marker=marker, label=name, linewidth=1)
    axis.set(xlabel=xlabel, ylabel=ylabel, yscale=yscale)
    axis.xaxis.set_major_locator(MaxNLocator(_TICKS, steps=[1, 2, 5, 10], integer=True))
    linear = MaxNLocator(_TICKS, steps=[1, 2, 5, 10])
    axis.yaxis.set_major_locator(LogLocator(numticks=_TICKS) if yscale == "log" else linear)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
    if rows:
        figure.legend(loc="upper center", fontsize="small", ncols=_LEGEND_COLUMNS)
    return figure
