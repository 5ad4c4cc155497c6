"""`ds4d compile`: no kernel is left for the first run to compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ds4d.cli.commands.compile import DRAFT_OVERRIDES, GPU_OVERRIDES, GPU_SAMPLE, fit_samples
from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.data.synthetic import SampleConfig, sample_video
from ds4d.presets import PRESETS
from ds4d.training.sampling import Sampler
from ds4d.training.schedule import Schedule

LIST_COMPILED = """
import sys
from pathlib import Path
import ds4d
from ds4d.cli.commands.compile import fit_samples
fit_samples(Path(sys.argv[1]))
from ds4d.deformation import hexplane_kernel
from ds4d.fusion import sampling_kernel
from ds4d.metrics import ssim_kernel
from ds4d.multiview.inflate import kernels
from ds4d.rendering.kernels import binning, compositing, projection
modules = (hexplane_kernel, sampling_kernel, ssim_kernel, kernels, binning, compositing, projection)
for module in modules:
    for name, value in vars(module).items():
        if hasattr(value, "signatures") and not name.startswith("_") and not value.signatures:
            print(module.__name__, name)
print(*(name for name in ("torch._dynamo", "sympy") if name in sys.modules))
"""


def test_compile_runs_every_public_kernel(tmp_path: Path) -> None:
    """A kernel that the small fit does not call would be compiled by the first run after all.

    Nor does a fit import torch's compiler or symbolic algebra, which some of torch's functions do: two seconds.
    """
    argv = [sys.executable, "-c", LIST_COMPILED, str(tmp_path)]
    done = subprocess.run(argv, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "\n"


@pytest.mark.parametrize(("preset", "overrides"), [("fast", GPU_OVERRIDES), ("draft", DRAFT_OVERRIDES)])
def test_steps_on_a_gpu_have_all_numbers_of_times_and_sizes_of_a_run(preset: str, overrides: dict) -> None:
    def kinds(config: GenerateConfig, frames: int) -> set[tuple]:
        video = sample_video(SampleConfig(frames=frames, size=32, supersampling=1))
        schedule = Schedule(config.training, video, is_dynamic=True)
        sampler = Sampler(video.valid, torch.Generator().manual_seed(0))
        steps = range(config.training.total_steps)
        return {(schedule.sample(step, sampler).views.shape, schedule.image_size(step)) for step in steps}

    usual = PRESETS[preset]()
    compiled = kinds(with_overrides(usual, overrides), GPU_SAMPLE.frames)
    for frames in (24, 32, 144):
        assert kinds(usual, frames) <= compiled


@pytest.mark.gpu
def test_compile_fits_on_the_gpu(tmp_path: Path) -> None:
    fit_samples(tmp_path, has_gpu=True)
    assert len(list(tmp_path.glob("run*/scene.safetensors"))) == 6
