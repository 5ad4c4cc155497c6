"""Images for people: loss curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ds4d.io import atomic_path
from ds4d.training import loss_names, over_steps


def plot_losses(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draws loss curves over the steps on a logarithmic axis.

    Args:
        history: entries of a `LossLog`. They may lack losses that others have; losses of 0 leave gaps.
        path: of the image; its suffix chooses the format (.png, .svg, .pdf).

    Raises:
        ValueError: the history is empty, or an entry has no `step`.
    """
    from matplotlib.figure import Figure

    if not history or not all("step" in entry for entry in history):
        raise ValueError("plot_losses: history must hold at least one entry, each with the key step.")
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    for name in loss_names(history):
        axis.plot(*over_steps(history, name), label=name, linewidth=1)
    axis.set(yscale="log", xlabel="step", ylabel="loss")
    axis.grid(alpha=0.3)
    if axis.lines:
        axis.legend(ncols=2, fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
