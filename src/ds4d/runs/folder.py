"""The folder of one run: whether a new run may use it, its records, and whether its run is finished."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ds4d.io import check_writable, leftovers
from ds4d.preprocess import VideoCrop
from ds4d.runs.lock import LOCK, OWNER, check_idle, locked
from ds4d.runs.paths import RunPaths
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
from ds4d.scene import window_folder, windows_file
from ds4d.training import read_log


@dataclass(frozen=True)
class RunFolder(RunPaths):
    """Paths and records of a run."""

    @property
    def is_fitted(self) -> bool:
        """Whether the scene is complete."""
        return self.scene.is_file() or windows_file(self.path).is_file()

    def window(self, index: int) -> "RunFolder":
        """The folder of a window of a long clip, with its scene and checkpoints."""
        return RunFolder(window_folder(self.path, index))

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other runs out of the folder while the block lasts (`ds4d.runs.lock`)."""
        return locked(self.path)

    def check_unused(self) -> None:
        """Refuses a folder that holds anything but what a run has left that was ended before its record was written.

        Raises:
            ValueError: it is a file, is in use, or holds a run or other things.
        """
        check_idle(self.path)
        self.check_unused_by_others()

    def check_unused_by_others(self) -> None:
        """The same for the run that holds the lock of the folder."""
        if self.config.is_file():
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got one that holds another run. "
                "Choose another folder, or add --resume to continue that run."
            )
        if self.path.exists() and not (self.path.is_dir() and self._holds_nothing_else()):
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got "
                f"{'one that holds other files' if self.path.is_dir() else 'a file'}. Choose another folder."
            )

    def check_writable(self) -> None:
        """Tries to make the folder and to write wherever a run writes first; leaves everything as it was.

        Raises:
            ValueError: the folder cannot be made, or files cannot be written into it.
        """
        check_writable(self.path)
        check_writable(self.checkpoint.parent, self.path)

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
            ValueError: it holds no run, or one that is in use or differs in a setting; the message names the setting.
        """
        check_idle(self.path)
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
        if not self.config.is_file() or self.is_fitted:
            return
        if windows := sorted((self.path / "windows").glob("*")):
            done = sum(RunFolder(path).is_fitted for path in windows)
            raise ValueError(
                f"run {self.path} must be fitted to its end, got {done} finished windows of a long clip. Wait for it "
                "if it is running, or continue it by the same command with --resume."
            )
        record, steps = read_record(self.config), read_log(self.log)
        done = steps[-1]["step"] if steps else 0
        raise ValueError(
            f"run {self.path} must be fitted to its end, got step {done} of {record.config.training.total_steps}. "
            "Wait for it if it is running, or continue it by the same command with --resume."
        )

    def open(self, record: RunRecord, video_crop: VideoCrop | None = None) -> None:
        """Creates the folder and writes the record into it, with the crop of a video.

        The record is first: a run that is ended between the two can be resumed, which writes both again.
        """
        write_json(self.config, record)
        if video_crop is not None:
            write_json(self.video_crop, video_crop)
        else:
            self.video_crop.unlink(missing_ok=True)

    def clean(self) -> None:
        """Removes the temporary files of a run that was killed; only the run that holds the lock may."""
        for path in self._leftovers():
            path.unlink(missing_ok=True)

    def _leftovers(self) -> Iterator[Path]:
        below = [path for path in self.path.iterdir() if path.is_dir() and not path.is_symlink()]
        windows = sorted((self.path / "windows").glob("*"))
        for folder in (self.path, *below, *windows, *(RunFolder(path).checkpoint.parent for path in windows)):
            if folder.is_dir() and not folder.is_symlink():
                yield from leftovers(folder)

    def _holds_nothing_else(self) -> bool:
        own = {LOCK, OWNER, self.video_crop.name, *(path.name for path in leftovers(self.path))}
        return all(path.name in own for path in self.path.iterdir())

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
