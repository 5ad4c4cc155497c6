"""`ds4d compile`: no kernel is left for the first run to compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds4d.cli.commands.compile import fit_once

LIST_COMPILED = """
import sys
from pathlib import Path
import ds4d
from ds4d.cli.commands.compile import fit_once
fit_once(Path(sys.argv[1]))
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


@pytest.mark.gpu
def test_compile_fits_on_the_gpu(tmp_path: Path) -> None:
    fit_once(tmp_path, has_gpu=True)
    assert (tmp_path / "fast-visible-views" / "scene.safetensors").is_file()
