"""The settings of each preset."""

from collections.abc import Callable
from dataclasses import replace

import torch

from ds4d.config import GenerateConfig
from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.features import FeaturesConfig
from ds4d.geometry import HullConfig
from ds4d.guidance import GuidanceConfig
from ds4d.init import InitConfig
from ds4d.losses import LossConfig, Term
from ds4d.multiview import ViewsConfig
from ds4d.presets.names import PresetName
from ds4d.training import DensificationConfig, LearningRate, OptimizerConfig, TrainingConfig
from ds4d.visualize import OutputsConfig

# Few steps want higher rates than the defaults, and Gaussians that come to rest.
_QUICK = OptimizerConfig(
    means=LearningRate(2e-3, 0.05),
    quats=LearningRate(4e-3, 0.3),
    log_scales=LearningRate(1e-2, 0.3),
    opacity_logits=LearningRate(5e-2, 0.3),
    sh0=LearningRate(1e-2, 0.3),
    planes=LearningRate(2e-2, 0.1),
    mlp=LearningRate(2e-3, 0.1),
)


def tiny() -> GenerateConfig:
    """For demonstrations and tests: small images, few steps."""
    return GenerateConfig(
        views=ViewsConfig(size=128),
        init=InitConfig(num_gaussians=4_000, hull=HullConfig(resolution=64)),
        field=FieldConfig(HexPlaneConfig(channels=8, resolution=24, multipliers=(1, 2)), width=32, deform_color=True),
        training=TrainingConfig(
            static_steps=100,
            dynamic_steps=500,
            static_views=4,
            times_per_step=2,
            views_per_time=4,
            densification=DensificationConfig(max_gaussians=6_000, every=50),
            optimizer=_QUICK,
        ),
        outputs=OutputsConfig(size=256, fps=12.0, seconds=4.0, sheet_size=128),
    )


def draft() -> GenerateConfig:
    """For a first look at whether a video works: `tiny` with fewer steps and without frame features."""
    base = tiny()
    return replace(
        base,
        fusion=None,
        training=replace(base.training, static_steps=60, dynamic_steps=400),
        outputs=replace(base.outputs, seconds=2.0),
    )


def cpu() -> GenerateConfig:
    """For machines without a GPU: images of medium size, few Gaussians."""
    return GenerateConfig(
        views=ViewsConfig(size=256),
        init=InitConfig(num_gaussians=8_000),
        field=FieldConfig(HexPlaneConfig(channels=8), width=32, deform_color=True),
        training=TrainingConfig(
            static_steps=150,
            dynamic_steps=1100,
            static_views=4,
            low_resolution_fraction=0.7,
            times_per_step=2,
            views_per_time=4,
            views_at_full_size=2,
            losses=LossConfig(rigidity=0.5),
            densification=DensificationConfig(max_gaussians=16_000, every=50),
            optimizer=_QUICK,
            neighbors=4,
        ),
        outputs=OutputsConfig(size=384),
    )


def fast() -> GenerateConfig:
    """For a GPU: images at full size, many in each step."""
    return GenerateConfig(
        field=FieldConfig(deform_color=True),
        training=TrainingConfig(
            static_steps=300,
            dynamic_steps=1000,
            low_resolution_fraction=0.3,
            times_per_step=8,
            views_per_time=2,
            losses=LossConfig(rigidity=0.5),
            densification=DensificationConfig(grow_fraction=0.1),
            optimizer=OptimizerConfig(
                means=LearningRate(2e-3, 0.05), planes=LearningRate(2e-2, 0.1), mlp=LearningRate(2e-3, 0.1)
            ),
        ),
    )


# STAG4D's sum of losses, divided by the factor of its color loss. It sums regularizers over 4 scales of 3 planes.
_STAG4D = 1 / 20_000
_STAG4D_PLANES = 4 * 3 * _STAG4D


def paper() -> GenerateConfig:
    """The paper's parts by STAG4D's schedule and loss weights; for a GPU.

    Needs the weights of Zero123++ (for videos), DINOv2, LPIPS and Zero123-XL (see `ds4d weights`); without them it is
    refused, unless `allow_missing_weights` is set.

    The color losses compare the input view alone. Other sides are trained by LPIPS on the generated views and by SDS:
    without these weights only the masks constrain them, and `fast` does better.
    """
    return GenerateConfig(
        views=ViewsConfig(size=512),
        features=FeaturesConfig(kind="auto"),
        init=InitConfig(num_gaussians=10_000),
        field=FieldConfig(
            hexplane=HexPlaneConfig(channels=32, resolution=64, multipliers=(1, 2, 4, 8)), fade_tracked=False
        ),
        training=TrainingConfig(
            static_steps=700,
            dynamic_steps=7300,
            times_per_step=4,
            views_per_time=2,
            temporal_curriculum=0.0,
            low_resolution_fraction=0.0,
            averaged_fraction=0.0,
            view_correction=None,
            losses=LossConfig(
                l1=Term(),
                mse=Term(20_000 * _STAG4D, "input"),
                ssim=Term(),
                mask=Term(5_000 * _STAG4D),
                lpips=Term(0.05, "generated"),
                plane_smoothness=0.05 * _STAG4D_PLANES,
                time_smoothness=5.0 * _STAG4D_PLANES,
                time_l1=0.05 * _STAG4D_PLANES,
            ),
            densification=DensificationConfig(
                start=0.15,
                stop=0.75,
                max_gaussians=33_000,
                grow_fraction=0.025,
                add_for_frames=False,
                trim_lifetimes=False,
            ),
            optimizer=OptimizerConfig(
                means=LearningRate(2e-3, 0.01),
                quats=LearningRate(2e-3),
                log_scales=LearningRate(1e-2),
                opacity_logits=LearningRate(2e-2),
                planes=LearningRate(1.6e-2, 0.1),
                mlp=LearningRate(1.6e-3, 0.1),
            ),
        ),
        guidance=GuidanceConfig(weight=1 * _STAG4D),
        allow_missing_weights=False,
    )


PRESETS: dict[str, Callable[[], GenerateConfig]] = {
    "draft": draft,
    "tiny": tiny,
    "cpu": cpu,
    "fast": fast,
    "paper": paper,
}


def default_preset(device: torch.device) -> PresetName:
    """The preset of a run that names none."""
    return "fast" if device.type == "cuda" else "cpu"
