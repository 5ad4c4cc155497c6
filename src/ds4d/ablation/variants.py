"""The variants of the method that the ablation compares, each as a change of the settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from ds4d.config import GenerateConfig
from ds4d.deformation import FieldConfig
from ds4d.fusion import FusionConfig
from ds4d.losses import ViewCorrectionConfig


@dataclass(frozen=True)
class Variant:
    """One variant of the method.

    Attributes:
        name: name of the variant; a letter is that of the row in the paper's ablation table.
        description: one line that says what the variant is.
        change: turns shared settings into those of the variant; schedule, losses and seed stay the same.
    """

    name: str
    description: str
    change: Callable[[GenerateConfig], GenerateConfig]


def _without_features(
    config: GenerateConfig, init: Literal["random", "hull"], *, view_correction: bool = False
) -> GenerateConfig:
    """The HexPlane alone moves the Gaussians."""
    config = replace(config, init=replace(config.init, method=init, file=None), fusion=None)
    return _set_view_correction(config, view_correction)


def _with_features(
    config: GenerateConfig, rule: str, *, decoupled: bool = True, view_correction: bool = False
) -> GenerateConfig:
    """Initialization on the visual hull; image features fused by `rule` (`ds4d.fusion.RULES`) help the HexPlane."""
    config = replace(
        config,
        init=replace(config.init, method="hull", file=None),
        decoupling=replace(config.decoupling, enabled=decoupled),
        fusion=replace(config.fusion or FusionConfig(), rule=rule),
    )
    return _set_view_correction(config, view_correction)


def _set_view_correction(config: GenerateConfig, enabled: bool) -> GenerateConfig:
    correction = config.training.view_correction or ViewCorrectionConfig()
    return replace(config, training=replace(config.training, view_correction=correction if enabled else None))


_VARIANTS = (
    Variant("A", "random initialization, no image features", partial(_without_features, init="random")),
    Variant("B", "A with initialization on the visual hull", partial(_without_features, init="hull")),
    Variant("D", "B + image features of the input view", partial(_with_features, rule="input", decoupled=False)),
    Variant("E", "D + dynamic-static feature decoupling (DSFD)", partial(_with_features, rule="input")),
    Variant("F", "E + features of all views, averaged (TSSF)", partial(_with_features, rule="average")),
    Variant("G", "E + features of all views, global awareness (TSSF-GA)", partial(_with_features, rule="global")),
    Variant("H", "E + features of all views, distance awareness (TSSF-DA)", partial(_with_features, rule="distance")),
    Variant(
        "visible", "E + features of the views that see the point (depth test)", partial(_with_features, rule="visible")
    ),
    Variant(
        "view-correction",
        "B + learned warps and color gains of the generated views",
        partial(_without_features, init="hull", view_correction=True),
    ),
    Variant(
        "ours",
        "visible + view-correction: the default method",
        partial(_with_features, rule="visible", view_correction=True),
    ),
)
VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _VARIANTS}


def _decoupled(config: GenerateConfig, **changes: Any) -> GenerateConfig:
    return replace(config, decoupling=replace(config.decoupling, **changes))


def _held_still(config: GenerateConfig) -> GenerateConfig:
    losses = replace(config.training.losses, stillness=_STILLNESS)
    return replace(config, training=replace(config.training, losses=losses))


def _b(config: GenerateConfig) -> GenerateConfig:
    return VARIANTS["B"].change(config)


def _visible(config: GenerateConfig) -> GenerateConfig:
    return VARIANTS["visible"].change(config)


def _gated(config: GenerateConfig) -> GenerateConfig:
    return replace(config, field=replace(config.field or FieldConfig(), dynamic_gate=True))


def _hidden_only(config: GenerateConfig) -> GenerateConfig:
    return replace(config, fusion=replace(config.fusion or FusionConfig(), hidden_only=True))


_WEIGHT, _STILLNESS, _SEGMENTS = 4.0, 0.05, 4
_CANDIDATES = (
    Variant(
        "B+weights",
        "B, with image losses weighted up to five times where features are dynamic",
        lambda config: _decoupled(_b(config), loss_weight=_WEIGHT),
    ),
    Variant(
        "B+growth",
        "B, with Gaussians cloned and split earlier where features are dynamic",
        lambda config: _decoupled(_b(config), growth_weight=_WEIGHT),
    ),
    Variant(
        "B+frames",
        "B, with frames sampled more often where features are dynamic",
        lambda config: _decoupled(_b(config), frame_weight=_WEIGHT),
    ),
    Variant("B+still", "B, with Gaussians held where features are still", lambda config: _held_still(_b(config))),
    Variant(
        "visible+weights",
        "visible, with image losses weighted as in B+weights",
        lambda config: _decoupled(_visible(config), loss_weight=_WEIGHT),
    ),
    Variant(
        "visible+still", "visible, with Gaussians held as in B+still", lambda config: _held_still(_visible(config))
    ),
    Variant(
        "visible+gate",
        "visible, with all changes scaled by a learned gate on the dynamic share",
        lambda config: _gated(_visible(config)),
    ),
    Variant(
        "visible+hidden",
        "visible, with features only for points that the input view does not see",
        lambda config: _hidden_only(_visible(config)),
    ),
    Variant(
        "visible+robust",
        "visible, with a robust mean as the reference",
        lambda config: _decoupled(_visible(config), reference="robust"),
    ),
    Variant(
        "visible+learned",
        "visible, with a reference that is learned with the scene",
        lambda config: _decoupled(_visible(config), reference="learned"),
    ),
    Variant(
        "visible+segments",
        f"visible, with a reference for each of {_SEGMENTS} segments of the video",
        lambda config: _decoupled(_visible(config), segments=_SEGMENTS),
    ),
)
# What the dynamic part could guide besides or instead of the fused feature; compared only where they are named.
CANDIDATES: dict[str, Variant] = {variant.name: variant for variant in _CANDIDATES}


def variant_configs(shared: GenerateConfig, names: Sequence[str] = ()) -> dict[str, GenerateConfig]:
    """The settings of the variants by name, in the order of `VARIANTS` and `CANDIDATES`.

    Args:
        shared: settings that all variants share.
        names: names of variants or of `CANDIDATES`; all variants if empty.

    Raises:
        ValueError: a name is unknown.
    """
    known = {**VARIANTS, **CANDIDATES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"--variants must be of {', '.join(known)}, got {unknown[0]!r}. Correct the name.")
    return {name: variant.change(shared) for name, variant in known.items() if name in (names or VARIANTS)}
