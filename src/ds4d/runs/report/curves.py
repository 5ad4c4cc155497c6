"""Curves of a run as SVG images, small enough to be read on a phone."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from ds4d.runs.report.embedding import data_uri
from ds4d.training import loss_names, over_steps

_INCHES = (4.4, 2.9)  # shown at the width of a phone, 10-point letters stay as large as the text

Curve = tuple[Sequence[float | int], Sequence[float | int | None]]  # places on the axis, values; None leaves a gap


def loss_curves(log: Sequence[Mapping[str, Any]]) -> str:
    """The losses over the steps on a logarithmic axis, as a data URI."""
    curves: dict[str, Curve] = {name: over_steps(log, name) for name in loss_names(log)}
    return _draw(curves, "step", "loss", logarithmic=True)


def count_curve(log: Sequence[Mapping[str, Any]]) -> str:
    """The number of Gaussians over the steps, as a data URI."""
    return _draw({"Gaussians": over_steps(log, "num_gaussians")}, "step", "Gaussians")


def score_curve(scores: Sequence[float | None]) -> str:
    """The PSNR of every frame, dB, as a data URI."""
    return _draw({"PSNR": (range(len(scores)), scores)}, "frame", "dB", marker=".")


def _draw(
    curves: Mapping[str, Curve], across: str, up: str, *, logarithmic: bool = False, marker: str | None = None
) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    axis = figure.subplots()
    for name, (places, values) in curves.items():
        axis.plot(places, [float("nan") if value is None else value for value in values], marker=marker, label=name)
    axis.set(xlabel=across, ylabel=up, yscale="log" if logarithmic else "linear")
    axis.grid(alpha=0.3)
    if len(curves) > 1:
        figure.legend(loc="outside upper center", fontsize="small", ncols=3)
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_uri("image/svg+xml", buffer.getvalue())
