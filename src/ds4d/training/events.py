"""What happens during a fit, as data for whoever watches."""

import math
from dataclasses import dataclass


class TrainingDiverged(RuntimeError):  # noqa: N818 - says what happened, as a user reads it
    """A loss became NaN or Inf."""

    def __init__(self, step: int, terms: dict[str, float]) -> None:
        bad = [name for name, value in terms.items() if not math.isfinite(value)] or ["the gradient of the total"]
        super().__init__(
            f"fit: {', '.join(bad)} must be finite, got NaN or Inf at step {step}. "
            "Check the images and cameras, or lower the learning rates."
        )
        self.step = step
        self.terms = bad


@dataclass(frozen=True)
class StepDone:
    """One step is done.

    Attributes:
        step: counted from 1 over both stages.
        total_steps: of both stages.
        stage: `static` or `dynamic`.
        loss: the weighted sum.
        terms: each loss before its weight.
        num_gaussians: after the step.
        seconds: since the fit began, resumed parts included.
    """

    step: int
    total_steps: int
    stage: str
    loss: float
    terms: dict[str, float]
    num_gaussians: int
    seconds: float


@dataclass(frozen=True)
class DensityChanged:
    """The set of Gaussians was replaced after this step, by density control or, after the last, without strays."""

    step: int
    before: int
    after: int


Event = StepDone | DensityChanged
