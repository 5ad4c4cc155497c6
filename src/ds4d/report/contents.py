"""What a run has recorded of itself, read back for its page."""

from dataclasses import dataclass
from typing import Any

from ds4d.logs import read_log
from ds4d.run_folder import RunFolder, RunRecord, read_json, read_record

# What the page shows of metrics.json.
_FIGURES = {
    "versions", "used", "findings", "device", "frames", "views", "picture", "steps", "num_gaussians", "front_psnr",
    "train_psnr", "front_psnr_by_frame", "seconds", "peak_memory_bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """The records of a finished run.

    Attributes:
        run: its folder, with the films and pictures.
        record: what it was asked to do.
        metrics: its figures, as `ds4d.pipeline.generate` writes them.
        log: its losses, one entry per logged step.
        evaluation: scores on views that were not fitted, where `ds4d eval` was called.
    """

    run: RunFolder
    record: RunRecord
    metrics: dict[str, Any]
    log: list[dict[str, Any]]
    evaluation: dict[str, Any] | None


def read_contents(run: RunFolder) -> Contents:
    """The records of a finished run.

    Raises:
        ValueError: the run is not whole, is damaged, or was written by another version.
    """
    metrics = run.read_metrics()
    record = read_record(run.config)
    missing = sorted(_FIGURES - set(metrics))
    if missing:
        raise ValueError(
            f"{run.metrics} must hold the keys {', '.join(missing)}, got none: an earlier ds4d wrote it. "
            "Generate it again."
        )
    evaluation = read_json(run.evaluation) if run.evaluation.is_file() else None
    return Contents(run, record, metrics, read_log(run.log), evaluation)
