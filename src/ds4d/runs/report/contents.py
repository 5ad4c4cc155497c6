"""The records of a finished run that its report shows."""

from dataclasses import dataclass
from typing import Any

from ds4d.runs.folder import RunFolder
from ds4d.runs.records import EvaluationRecord, RunMetrics, RunRecord, read_record
from ds4d.training import read_log


@dataclass(frozen=True)
class Contents:
    """The records of a finished run.

    Attributes:
        run: folder of the run, with its videos and images.
        record: input and settings of the run.
        metrics: metrics of the run.
        log: losses of the run, one entry per logged step.
        evaluation: scores on held-out views, if `ds4d eval` was run.
    """

    run: RunFolder
    record: RunRecord
    metrics: RunMetrics
    log: list[dict[str, Any]]
    evaluation: EvaluationRecord | None


def read_contents(run: RunFolder) -> Contents:
    """The records of a finished run.

    Raises:
        ValueError: the run is not finished, is damaged, or was written by another version.
    """
    return Contents(run, read_record(run.config), run.read_metrics(), read_log(run.log), run.read_evaluation())
