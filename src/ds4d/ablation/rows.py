"""The rows of the paper's ablation, each as a change of the settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ds4d.config import GenerateConfig
from ds4d.fusion import FusionConfig
from ds4d.losses import ViewCorrectionConfig


@dataclass(frozen=True)
class Row:
    """One row of the ablation.

    Attributes:
        name: as the paper's table has it.
        description: what the row is, in one line.
        change: makes the row's settings of a preset's; the schedule, the losses and the seed stay as they are.
    """

    name: str
    description: str
    change: Callable[[GenerateConfig], GenerateConfig]


Rule = Literal["front", "average", "global", "distance", "visible"]


def _without_features(
    config: GenerateConfig, method: Literal["random", "hull"], *, aligned: bool = False
) -> GenerateConfig:
    """The HexPlane alone moves the Gaussians; `method` makes the first ones."""
    config = _aligned(config) if aligned else _unaligned(config)
    return replace(config, init=replace(config.init, method=method, file=None), fusion=None)


def _with_features(
    config: GenerateConfig, rule: Rule, *, decoupled: bool = True, aligned: bool = False
) -> GenerateConfig:
    """Features of the views, fused by `rule`, help the HexPlane to move Gaussians that begin on the hull."""
    return replace(
        _aligned(config) if aligned else _unaligned(config),
        init=replace(config.init, method="hull", file=None),
        decoupling=replace(config.decoupling, enabled=decoupled),
        fusion=replace(config.fusion or FusionConfig(), rule=rule),
    )


def _unaligned(config: GenerateConfig) -> GenerateConfig:
    """Generated views are taken as they are, as in the paper."""
    return replace(config, training=replace(config.training, view_correction=None))


def _aligned(config: GenerateConfig) -> GenerateConfig:
    """Generated views may differ from the object, by what is learnt beside it."""
    return replace(
        config,
        training=replace(config.training, view_correction=config.training.view_correction or ViewCorrectionConfig()),
    )


_ROWS = (
    Row("A", "random first Gaussians, no frame features", partial(_without_features, method="random")),
    Row("B", "A, but first Gaussians on the visual hull", partial(_without_features, method="hull")),
    Row("D", "B + frame features of the front view", partial(_with_features, rule="front", decoupled=False)),
    Row("E", "D, decoupled into what stays and what moves (DSFD)", partial(_with_features, rule="front")),
    Row("F", "E, of all views: their average (TSSF)", partial(_with_features, rule="average")),
    Row("G", "E, of all views: weighted by themselves (TSSF-GA)", partial(_with_features, rule="global")),
    Row("H", "E, of all views: weighted by likeness to the front (TSSF-DA)", partial(_with_features, rule="distance")),
    Row("visible", "E, of the views that see the point, by depth", partial(_with_features, rule="visible")),
    Row(
        "aligned",
        "B, and the generated views' own warps and tints are learnt",
        partial(_without_features, method="hull", aligned=True),
    ),
    Row("ours", "visible and aligned: the whole method", partial(_with_features, rule="visible", aligned=True)),
)
ROWS: dict[str, Row] = {row.name: row for row in _ROWS}


def rows(preset: GenerateConfig, names: Sequence[str] = ()) -> dict[str, GenerateConfig]:
    """The settings of the rows, by their names, in the table's order.

    Args:
        preset: what the rows share.
        names: keys of `ROWS`; all of them if none is given.

    Raises:
        ValueError: there is no such row.
    """
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        known = "; ".join(f"{row.name} ({row.description})" for row in ROWS.values())
        raise ValueError(f"rows must be of {known}, got {unknown[0]!r}. Correct --rows.")
    return {name: row.change(preset) for name, row in ROWS.items() if name in names or not names}
