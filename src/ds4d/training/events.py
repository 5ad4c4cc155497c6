"""Events of training."""

import math
from dataclasses import dataclass


class TrainingDiverged(RuntimeError):  # noqa: N818 - users read the name
    """A loss became NaN or Inf."""

    def __init__(self, step: int, terms: dict[str, float]) -> None:
        bad = [name for name, value in terms.items() if not math.isfinite(value)] or ["the gradient of the total"]
        super().__init__(
            f"training: {', '.join(bad)} must be finite, got NaN or Inf at step {step}. "
            "Check the images and cameras, or lower the learning rates."
        )
        self.step = step
        self.terms = bad


@dataclass(frozen=True)
class StepDone:
    """A training step was taken.

    Attributes:
        step: step number, counted from 1 over both stages.
        total_steps: number of steps of both stages.
        stage: `static` or `dynamic`.
        loss: weighted sum of the terms.
        terms: each loss before its weight, by name.
        num_gaussians: number of Gaussians after the step.
        seconds: training time so far in seconds, earlier sessions of a resumed run included.
    """

    step: int
    total_steps: int
    stage: str
    loss: float
    terms: dict[str, float]
    num_gaussians: int
    seconds: float


@dataclass(frozen=True)
class GaussiansChanged:
    """Gaussians were cloned, split, added or pruned after a step; after the last step, outliers were pruned.

    Attributes:
        step: step number, counted from 1 over both stages.
        before: number of Gaussians before.
        after: number of Gaussians after.
    """

    step: int
    before: int
    after: int


Event = StepDone | GaussiansChanged
