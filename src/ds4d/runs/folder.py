"""The folder of one run: which file is where, whether a new run may use it, and whether its run is finished.

config.json             all settings and the input; written first
video_crop.json         crop and camera of the input view in its video, if the input is a video
log.jsonl               losses, one JSON object per line
tensorboard/            the same for TensorBoard, if requested
checkpoints/            the latest state of the fit; the last one is kept
scene.safetensors/json  the fitted scene; baked.safetensors: the Gaussians of its frames
contact_sheet.png, loss.png, comparison.mp4, orbit.mp4, front/right/back/left.mp4, middle.ply
saliency.png/mp4        where the input view moves; not for a single frame or a moving camera
metrics.json            metrics, versions, results of the checks of the video; marks a finished run
report.html             all of the above on one page; written last
eval.json               scores on held-out views, if `ds4d eval` was run
"""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ds4d.preprocess import VideoCrop
from ds4d.runs.records import (
    EvaluationRecord,
    RunMetrics,
    RunRecord,
    check_format,
    check_same_settings,
    read_json,
    read_record,
    write_json,
)
from ds4d.training import read_log


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of a run.

    Attributes:
        path: path of the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The record of the run."""
        return self.path / "config.json"

    @property
    def video_crop(self) -> Path:
        """Crop and camera of the input view in its video."""
        return self.path / "video_crop.json"

    @property
    def log(self) -> Path:
        """The losses."""
        return self.path / "log.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The latest state of the fit."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def scene(self) -> Path:
        """The description of the scene's tensors, which is written after them."""
        return self.path / "scene.json"

    @property
    def metrics(self) -> Path:
        """The metrics of a finished run."""
        return self.path / "metrics.json"

    @property
    def evaluation(self) -> Path:
        """Scores on held-out views."""
        return self.path / "eval.json"

    @property
    def report(self) -> Path:
        """The report of the run, one HTML page."""
        return self.path / "report.html"

    def check_unused(self) -> None:
        """Refuses a folder that holds anything.

        Raises:
            ValueError: it is a file, or holds a run or other things.
        """
        if self.config.is_file():
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got one that holds another run. "
                "Choose another folder, or add --resume to continue that run."
            )
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got "
                f"{'one that holds other files' if self.path.is_dir() else 'a file'}. Choose another folder."
            )

    def check_writable(self) -> None:
        """Tries to make the folder and to write into it; leaves everything as it was.

        Raises:
            ValueError: the folder cannot be made, or files cannot be written into it.
        """
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"ds4d")
        except OSError as error:
            raise ValueError(
                f"output {self.path} must be a folder that can be written to, got: {error.strerror}. Choose another "
                "folder, or change its permissions."
            ) from error
        finally:
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()

    def check_fitted(self) -> None:
        """Refuses a folder without a complete scene.

        Raises:
            ValueError: it is not the folder of a run, or its fit is still running or was stopped.
        """
        if not self.config.is_file():
            found = "no such folder" if not self.path.exists() else "one without a config.json"
            raise ValueError(
                f"run {self.path} must be the output folder of `ds4d generate`, got {found}. Check the path."
            )
        self.check_scene()

    def read_resumable(self, record: RunRecord) -> RunRecord:
        """The record of the run in the folder, which is refused if it was asked to do something else.

        Args:
            record: what is requested now.

        Raises:
            ValueError: it holds no run, or one that differs in a setting; the message names the setting.
        """
        if not self.config.is_file():
            raise ValueError(f"output {self.path} must hold a run to resume, got none. Leave --resume out.")
        begun = read_record(self.config)
        check_same_settings(begun, record, self.path)
        return begun

    def check_scene(self) -> None:
        """Refuses a run whose scene is not there yet; a folder that is no run is reported when the scene is read.

        Raises:
            ValueError: its fit is still running, or was stopped; or the run is of a version with another format.
        """
        if self.config.is_file():
            check_format(self.config)
        if self.config.is_file() and not self.scene.is_file():
            record, steps = read_record(self.config), read_log(self.log)
            done = steps[-1]["step"] if steps else 0
            raise ValueError(
                f"run {self.path} must be fitted to its end, got step {done} of {record.config.training.total_steps}. "
                "Wait for it if it is running, or continue it by the same command with --resume."
            )

    def open(self, record: RunRecord, video_crop: VideoCrop | None = None) -> None:
        """Creates the folder and writes the record into it, with the crop of a video."""
        self.path.mkdir(parents=True, exist_ok=True)
        if video_crop is not None:
            write_json(self.video_crop, video_crop)
        write_json(self.config, record)

    def read_video_crop(self) -> VideoCrop:
        """Crop and camera of the input view in its video.

        Raises:
            ValueError: the input of the run is not a video, or the file is damaged.
        """
        if not self.video_crop.is_file():
            raise ValueError(
                f"{self.path} must be a run of a video, got one without {self.video_crop.name}. Make one with: "
                "ds4d generate VIDEO -o RUN"
            )
        return read_json(VideoCrop, self.video_crop)

    def finish(self, metrics: RunMetrics) -> None:
        """Writes the metrics, which marks the run as finished."""
        write_json(self.metrics, metrics)

    def read_metrics(self) -> RunMetrics:
        """The metrics of a finished run, as `finish` wrote them.

        Raises:
            ValueError: the folder holds no run, or one that is running, was stopped, is damaged or of another version.
        """
        self.check_fitted()
        if not self.metrics.is_file():
            raise ValueError(
                f"run {self.path} must be finished, got one without {self.metrics.name}. Wait if it is running, or "
                "continue it by the same command with --resume."
            )
        return read_json(RunMetrics, self.metrics)

    def write_evaluation(self, record: EvaluationRecord) -> None:
        """Writes scores on held-out views, in place of earlier ones."""
        write_json(self.evaluation, record)

    def read_evaluation(self) -> EvaluationRecord | None:
        """The scores on held-out views; None where there are none.

        Raises:
            ValueError: the file is damaged.
        """
        return read_json(EvaluationRecord, self.evaluation) if self.evaluation.is_file() else None
