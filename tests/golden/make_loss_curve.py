"""Makes loss_curve.json: the losses of a small fit, step by step.

    python tests/golden/make_loss_curve.py

A refactoring leaves the curve as it is. Run this after a change of behaviour that is meant, and say in the commit what
changed and what it was good for.
"""

import json
from pathlib import Path

import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.gaussians import DensityConfig, HullConfig
from ds4d.pipeline import prepare
from ds4d.placement import InitConfig
from ds4d.presets import GenerateConfig
from ds4d.training import FitConfig, StepDone
from ds4d.views.sample import SampleConfig, sample_video

CURVE = Path(__file__).with_name("loss_curve.json")

CONFIG = GenerateConfig(
    fusion=None,
    init=InitConfig(num_gaussians=600, hull=HullConfig(resolution=32), sh_degree=1),
    field=FieldConfig(
        hexplane=HexPlaneConfig(channels=4, resolution=8, multipliers=(1, 2)), width=16, deform_color=True
    ),
    fit=FitConfig(
        static_steps=12,
        dynamic_steps=28,
        static_views=3,
        times_per_step=2,
        density=DensityConfig(every=10, start=0.0, grow_share=0.1),
    ),
)


def loss_curve() -> list[dict[str, float]]:
    """The total, the number of Gaussians and every term of each step."""
    video = sample_video(SampleConfig(frames=4, size=40, supersampling=1))
    trainer = prepare(video, CONFIG, torch.device("cpu"))
    return [
        {"loss": event.loss, "num_gaussians": float(event.num_gaussians), **event.terms}
        for event in trainer.run()
        if isinstance(event, StepDone)
    ]


if __name__ == "__main__":
    CURVE.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in loss_curve()) + "\n]\n")
