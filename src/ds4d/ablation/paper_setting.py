"""The paper's own setting, in which image features have more to say than where seven views are photometric targets."""

from dataclasses import replace

from ds4d.config import GenerateConfig
from ds4d.deformation import FieldConfig
from ds4d.metrics import Lpips
from ds4d.presets import paper
from ds4d.weights import MODELS, find_model


def paper_setting(
    config: GenerateConfig, *, rows: int, lpips_weight: float | None = None, stand_in_channels: int = 64
) -> GenerateConfig:
    """Settings with the paper's supervision: color losses on the input view alone.

    Generated views train through a perceptual loss and their masks, with score distillation where the weights of
    Zero123-XL are found, and the HexPlane has few rows along time. Where the weights of LPIPS are missing, its stand-in
    takes its place (`TrainingConfig.lpips_stand_in`). Schedule, sizes and learning rates stay those of `config`.

    Args:
        config: settings to start from.
        rows: rows along time of the HexPlane, at least 2; 0 for one per frame. STAG4D reads about 12.
        lpips_weight: weight of the perceptual loss; that of the preset `paper` if None.
        stand_in_channels: channels of the stand-in's first layers (`TrainingConfig.lpips_stand_in_channels`).
    """
    theirs, field = paper(), config.field or FieldConfig()
    losses = theirs.training.losses
    if lpips_weight is not None:
        losses = replace(losses, lpips=replace(losses.lpips, weight=lpips_weight))
    guidance = theirs.guidance
    if find_model(MODELS["zero123-xl"], guidance.model) is None:
        guidance = replace(guidance, weight=0.0)
    return replace(
        config,
        field=replace(field, hexplane=replace(field.hexplane, time_resolution=rows), deform_color=False),
        training=replace(
            config.training,
            losses=losses,
            view_correction=None,
            lpips_stand_in=Lpips.if_available() is None,
            lpips_stand_in_channels=stand_in_channels,
        ),
        guidance=guidance,
    )
