"""`ds4d compile`: compiles the kernels of the CPU, and of a GPU if there is one, ahead of the first run."""

import os
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ds4d.cli.arguments import CommandLine
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, ds4d_command
from ds4d.core import DeviceName, choose_device, tracked
from ds4d.data.synthetic import SampleConfig, write_sample
from ds4d.pipeline import Event, iter_run
from ds4d.presets import PresetName
from ds4d.training import StepDone

_VIDEO, _VIEWS = "front.mp4", ""  # of a sample's folder
# Fits in which every kernel runs: views are generated, features fused by a rule of either kind, images compared.
_RULES = ("visible", "average")
_OUTPUTS: dict[str, Any] = {"outputs.size": 16, "outputs.seconds": 0.2, "outputs.sheet_size": 16}
_CPU: dict[str, Any] = {
    **_OUTPUTS,
    "views.size": 32,
    "views.source": "inflate",
    "init.num_gaussians": 200,
    "init.hull.resolution": 16,
    "training.static_steps": 1,
    "training.dynamic_steps": 3,
}
_CPU_SAMPLE = SampleConfig(frames=2, size=32, supersampling=1)
# A GPU's kernels are compiled for each size of image, and for each number of times in a step, which grows with the
# frames that are sampled: by one on either side from step to step.
GPU_SAMPLE = SampleConfig(frames=24, size=256, supersampling=1)
GPU_OVERRIDES: dict[str, Any] = {
    **_OUTPUTS,
    "views.source": "inflate",
    "training.static_steps": 2,
    "training.dynamic_steps": GPU_SAMPLE.frames // 2,
    "training.temporal_curriculum": 1.0,
}
# True views are not corrected: their features are read without warps, by other kernels than those of a generator.
_TRUE_VIEWS: dict[str, Any] = {**GPU_OVERRIDES, "training.view_correction": None}
# Opacities change in clips whose motion is tracked.
_TRACKED: dict[str, Any] = {**GPU_OVERRIDES, "field.deform_opacity": True}
# Without frame features, and with a smaller network. The number of times in a step does not grow.
DRAFT_OVERRIDES: dict[str, Any] = {
    **_OUTPUTS,
    "views.source": "inflate",
    "training.static_steps": 2,
    "training.dynamic_steps": 4,
}


@dataclass(frozen=True)
class CompileArguments:
    """Compiles the kernels of the CPU and, where there is one, of the GPU; otherwise the first run does it.

    They are kept on disk for all later runs.
    """


COMMAND = CommandLine(
    "compile",
    CompileArguments,
    (
        ("compile", "once after an installation, for instance while a container image is built"),
        ("compile --quiet", "the same without a word"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    COMMAND.parse(argv)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="ds4d-") as name:
        has_gpu = choose_device("auto").type == "cuda"
        fit_samples(Path(name), has_gpu=has_gpu)
    seconds = round(time.perf_counter() - began, 1)
    text = f"the kernels of the {'CPU and the GPU' if has_gpu else 'CPU'} are compiled ({seconds} s)"
    return Outcome(text, {"compile_seconds": seconds}, next=[ds4d_command("generate", "video.mp4", "-o", "run")])


def fit_samples(folder: Path, *, has_gpu: bool = False) -> None:
    """Takes a few steps of small fits that run every kernel.

    Args:
        folder: where their samples and runs are written.
        has_gpu: whether to fit on the GPU, too: a video, a folder of views and a tracked clip by `fast`, and a video by
            `draft`, with images of the usual sizes.
    """
    fits = [_Fit("tiny", rule, "cpu", _CPU_SAMPLE, _VIDEO, _CPU) for rule in _RULES]
    if has_gpu:  # which `auto` is
        fits += [
            _Fit("fast", "visible", "auto", GPU_SAMPLE, _VIDEO, GPU_OVERRIDES),
            _Fit("fast", "visible", "auto", GPU_SAMPLE, _VIEWS, _TRUE_VIEWS),
            _Fit("fast", "visible", "auto", GPU_SAMPLE, _VIDEO, _TRACKED),
            _Fit("draft", None, "auto", GPU_SAMPLE, _VIDEO, DRAFT_OVERRIDES),
        ]
    events = chain.from_iterable(fit.run(folder, folder / f"run{number}") for number, fit in enumerate(fits))
    steps = (event for event in events if isinstance(event, StepDone))
    with _cache_in(folder / "cache"):  # views that are found in the user's cache would not be generated again
        for _ in tracked(steps, "compiling kernels", total=sum(fit.steps for fit in fits)):
            pass


@dataclass(frozen=True)
class _Fit:
    """A fit of a synthetic video, or of its views."""

    preset: PresetName
    rule: str | None  # of the fusion; None: as the preset has it
    device: DeviceName
    sample: SampleConfig
    source: str
    overrides: dict[str, Any]

    @property
    def steps(self) -> int:
        return self.overrides["training.static_steps"] + self.overrides["training.dynamic_steps"]

    def run(self, folder: Path, out: Path) -> Iterator[Event]:
        sample = folder / f"sample-{self.sample.size}"
        if not sample.exists():
            write_sample(sample, self.sample)
        overrides = self.overrides if self.rule is None else {**self.overrides, "fusion.rule": self.rule}
        return iter_run(sample / self.source, out, preset=self.preset, overrides=overrides, device=self.device)


@contextmanager
def _cache_in(folder: Path) -> Generator[None, None, None]:
    """Keeps what is cached meanwhile in another folder than the user's."""
    before = os.environ.get("DS4D_CACHE")
    os.environ["DS4D_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["DS4D_CACHE"]
        if before is not None:
            os.environ["DS4D_CACHE"] = before
