"""Prediction of the time and memory of a run."""

from dataclasses import dataclass

import torch

from ds4d.config import GenerateConfig

_GAUSSIANS, _SIDE, _CORES = 16_000, 256, 2  # of the preset cpu, and of the machine that it was measured on
_VIDEO_SIDE, _VIDEOS = 384, 5  # the orbit and four sides


@dataclass(frozen=True)
class _Cost:
    """Measured costs, see docs/benchmarks.md.

    Attributes:
        image: time of training on one image of 256 pixels, with the Gaussians of the preset cpu, seconds.
        frame: time of rendering and encoding one frame of a video of 384 pixels, seconds.
        program: main memory apart from the input, GiB.
    """

    image: float
    frame: float
    program: float


_CPU = _Cost(image=0.0235, frame=0.08, program=1.25)  # preset cpu, two cores
_GPU = _Cost(image=0.00075, frame=0.003, program=2.2)  # preset fast, one H200


@dataclass(frozen=True)
class Prediction:
    """Predicted time and memory, roughly; guidance and view generation by diffusion models are not included.

    Attributes:
        seconds: duration of the run, seconds.
        gibibytes: peak of main memory, GiB.
    """

    seconds: float
    gibibytes: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        duration = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{self.seconds:.0f} seconds"
        return f"about {duration} and {self.gibibytes:.1f} GiB of main memory"


def predict_run(frames: int, views: int, config: GenerateConfig, device: torch.device) -> Prediction:
    """The predicted time and memory of a run.

    Args:
        frames: number of frames.
        views: number of training views.
        config: settings of the run; where they leave the image size open, 512 pixels are assumed.
        device: device of the run; on the CPU, with as many threads as torch has now.
    """
    side, training, outputs = config.views.size or 512, config.training, config.outputs
    cost, cores = (_CPU, torch.get_num_threads() / _CORES) if device.type == "cpu" else (_GPU, 1.0)
    dynamic_images = training.dynamic_steps * training.times_per_step * training.views_per_time
    images = training.static_steps * training.static_views + dynamic_images
    rendered_frames = _VIDEOS * outputs.seconds * outputs.fps
    # Four times the pixels, or the Gaussians, cost about twice as much (docs/benchmarks.md).
    fitting = images * cost.image * (side / _SIDE) * (training.densification.max_gaussians / _GAUSSIANS) ** 0.5
    rendering = rendered_frames * cost.frame * outputs.size / _VIDEO_SIDE
    return Prediction((fitting + rendering) / cores, cost.program + 4 * frames * views * side**2 / 2**30)
