"""Makes golden_runs.json: the losses of three small fits, step by step, and a hash of what each fitted.

    python tests/golden/make_golden_runs.py

A refactoring leaves them as they are. Run this after an intended change of behavior, and say in the commit what changed
and why it is better.

views       seven views of weight 1, HexPlane alone
video       one view; the others by `inflate`, with fusion (rule `visible`), view correction and rigidity
perturbed   seven views that disagree, fusion by the rule `distance`, color losses on the input view alone
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Set before torch is loaded: what a fit gives must not depend on the caller's thread settings.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from ds4d.config import GenerateConfig
from ds4d.data import PerturbationConfig, perturb_views
from ds4d.data.synthetic import SampleConfig, sample_video, write_sample
from ds4d.decoupling import DecouplingConfig
from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import FusionConfig
from ds4d.geometry import HullConfig
from ds4d.init import InitConfig
from ds4d.losses import LossConfig, Term
from ds4d.multiview import ViewsConfig
from ds4d.pipeline import prepare, read_input
from ds4d.training import DensificationConfig, StepDone, Trainer, TrainingConfig

GOLDEN = Path(__file__).with_name("golden_runs.json")
SAMPLE = SampleConfig(frames=4, size=40, supersampling=1)

CONFIG = GenerateConfig(
    fusion=None,
    init=InitConfig(num_gaussians=600, hull=HullConfig(resolution=32), sh_degree=1),
    field=FieldConfig(
        hexplane=HexPlaneConfig(channels=4, resolution=8, multipliers=(1, 2)), width=16, deform_color=True
    ),
    training=TrainingConfig(
        static_steps=12,
        dynamic_steps=28,
        static_views=3,
        times_per_step=2,
        densification=DensificationConfig(every=10, start=0.0, grow_fraction=0.1),
    ),
)


def _views() -> Trainer:
    return prepare(sample_video(SAMPLE), CONFIG, torch.device("cpu"))


def _video() -> Trainer:
    config = replace(
        CONFIG,
        views=ViewsConfig(source="inflate", splits=("front",)),
        fusion=FusionConfig(rule="visible", depth_size=40, depth_every=6),
        training=replace(CONFIG.training, losses=LossConfig(rigidity=0.5), neighbors=4),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder) / "sample", SAMPLE)
        clip = read_input(Path(folder) / "sample", config, torch.device("cpu"))
        return prepare(clip.video, config, torch.device("cpu"), points=clip.points)


def _perturbed() -> Trainer:
    config = replace(
        CONFIG,
        decoupling=DecouplingConfig(reference="mean"),
        fusion=FusionConfig(rule="distance", points="canonical"),
        training=replace(
            CONFIG.training, losses=LossConfig(l1=Term(0.4), mse=Term(1.0, "input"), ssim=Term(0.2, "generated"))
        ),
    )
    return prepare(perturb_views(sample_video(SAMPLE), PerturbationConfig(), seed=0), config, torch.device("cpu"))


RUNS: dict[str, Callable[[], Trainer]] = {"views": _views, "video": _video, "perturbed": _perturbed}


def machine() -> dict[str, str]:
    """What decides how sums are rounded: equal machines give equal bits."""
    cpu = platform.processor()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cpu": f"{cpu}, {capability}", "torch": torch.__version__, "numpy": np.__version__}


def golden_run(name: str) -> dict[str, Any]:
    """The total, the number of Gaussians and every term of each step, and a hash of the Gaussians of all frames."""
    trainer = RUNS[name]()
    curve = [
        {"loss": event.loss, "num_gaussians": float(event.num_gaussians), **event.terms}
        for event in trainer.run()
        if isinstance(event, StepDone)
    ]
    with torch.no_grad():
        raw = trainer.scene.raw_at(trainer.video.times)
    digest = hashlib.sha256()
    for tensor in (raw.means, raw.quats, raw.log_scales, raw.opacity_logits, raw.sh):
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return {"sha256": digest.hexdigest(), "curve": curve}


if __name__ == "__main__":
    runs = {name: golden_run(name) for name in RUNS}
    text = json.dumps({"machine": machine(), "runs": runs})
    GOLDEN.write_text(text.replace('{"loss"', '\n{"loss"') + "\n")  # a line for each step
