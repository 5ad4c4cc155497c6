"""What a run has recorded of itself, read back for its page."""

from dataclasses import dataclass
from typing import Any

from ds4d.runs.folder import RunFolder
from ds4d.runs.records import EvaluationRecord, RunMetrics, RunRecord, read_record
from ds4d.training import read_log


@dataclass(frozen=True)
class Contents:
    """The records of a finished run.

    Attributes:
        run: its folder, with the videos and images.
        record: what it was asked to do.
        metrics: its figures.
        log: its losses, one entry per logged step.
        evaluation: scores on views that were not fitted, where `ds4d eval` was called.
    """

    run: RunFolder
    record: RunRecord
    metrics: RunMetrics
    log: list[dict[str, Any]]
    evaluation: EvaluationRecord | None


def read_contents(run: RunFolder) -> Contents:
    """The records of a finished run.

    Raises:
        ValueError: the run is not whole, is damaged, or was written by another version.
    """
    return Contents(run, read_record(run.config), run.read_metrics(), read_log(run.log), run.read_evaluation())
