"""How long a run will take, and how much memory, before it is begun."""

from dataclasses import dataclass

import torch

from ds4d.config import GenerateConfig

_GAUSSIANS, _SIDE, _CORES = 16_000, 256, 2  # of the preset cpu, and of the machine that it was measured on
_VIDEO_SIDE, _VIDEOS = 384, 5  # the orbit and four sides


@dataclass(frozen=True)
class _Cost:
    """What was measured, see docs/benchmarks.md.

    Attributes:
        image: seconds for one image drawn and fitted at 256 pixels, with the Gaussians of the preset cpu.
        frame: seconds for one frame of a video of 384 pixels, drawn and encoded.
        program: GiB of main memory, whatever the clip.
    """

    image: float
    frame: float
    program: float


_CPU = _Cost(image=0.0235, frame=0.08, program=1.25)  # preset cpu, two cores
_GPU = _Cost(image=0.00075, frame=0.003, program=2.2)  # preset fast, one H200


@dataclass(frozen=True)
class Prediction:
    """A rough forecast; guidance and generated views by diffusion models come on top.

    Attributes:
        seconds: of the whole run.
        gibibytes: of main memory at most.
    """

    seconds: float
    gibibytes: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        spoken = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{self.seconds:.0f} seconds"
        return f"about {spoken} and {self.gibibytes:.1f} GiB of main memory"


def predict_run(frames: int, views: int, config: GenerateConfig, device: torch.device) -> Prediction:
    """What a fit of a clip and its videos will take.

    Args:
        frames: T.
        views: V.
        config: of the run; a size of the images that it leaves open is taken as 512.
        device: where the run will work; on the CPU, with as many threads as torch has now.
    """
    side, fit, outputs = config.views.size or 512, config.training, config.outputs
    cost, cores = (_CPU, torch.get_num_threads() / _CORES) if device.type == "cpu" else (_GPU, 1.0)
    images = fit.static_steps * fit.static_views + fit.dynamic_steps * fit.times_per_step * fit.views_per_time
    frames_drawn = _VIDEOS * outputs.seconds * outputs.fps
    # Four times the pixels, or the Gaussians, cost about twice as much (docs/benchmarks.md).
    fitting = images * cost.image * (side / _SIDE) * (fit.densification.max_gaussians / _GAUSSIANS) ** 0.5
    drawing = frames_drawn * cost.frame * outputs.size / _VIDEO_SIDE
    return Prediction((fitting + drawing) / cores, cost.program + 4 * frames * views * side**2 / 2**30)
