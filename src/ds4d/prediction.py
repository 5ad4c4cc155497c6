"""How long a run will take, and how much memory, before it is begun."""

from dataclasses import dataclass

import torch

from ds4d.presets import GenerateConfig

# Measured with the presets cpu (two cores) and fast (one H200), see docs/benchmarks.md: seconds for one picture drawn
# and fitted at 256 pixels, with the Gaussians of the preset cpu.
_PICTURE = {"cpu": 0.026, "cuda": 0.00065}
_CORES = 2
_GAUSSIANS, _SIDE = 12_000, 256
_OUTPUT_FRAME = {"cpu": 0.08, "cuda": 0.003}  # seconds for one frame of the videos, drawn and encoded
_VIDEOS = 5  # the orbit and four sides
_PROGRAM = {"cpu": 1.0, "cuda": 2.2}  # GiB in main memory whatever the clip


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
        config: of the run; a size of the pictures that it leaves open is taken as 512.
        device: where the run will work; on the CPU, with as many threads as torch has now.
    """
    side, fit, outputs = config.views.size or 512, config.fit, config.outputs
    pictures = fit.static_steps * fit.static_views + fit.dynamic_steps * fit.times_per_step * fit.views_per_time
    # Four times the pixels, and five times the Gaussians, cost about twice as much and more (docs/benchmarks.md).
    each = _PICTURE[device.type] * (side / _SIDE) * (fit.density.max_gaussians / _GAUSSIANS) ** 0.5
    drawn = _OUTPUT_FRAME[device.type] * _VIDEOS * outputs.seconds * outputs.fps * outputs.size / 384
    cores = _CORES / torch.get_num_threads() if device.type == "cpu" else 1.0
    return Prediction(
        seconds=cores * (pictures * each + drawn),
        gibibytes=_PROGRAM[device.type] + 4 * frames * views * side**2 / 2**30,
    )
