"""The folder of one run: which file is where, whether a new run may use it, and whether its run is finished.

config.json             all settings and the input; written first: without it the folder holds no run
video_crop.json         crop and camera of the input view in its video, if the input is a video
log.jsonl               losses, one JSON object per line
tensorboard/            the same for TensorBoard, if requested
checkpoints/            the latest state of the fit, and the one before it; the last ones are kept
scene.safetensors/json  the fitted scene; baked.safetensors: the Gaussians of its frames
windows.json, windows/   in place of these for a long clip (`ds4d.scene.windowed_gaussians`): each window has its scene
                        and checkpoints
contact_sheet.png, loss.png, comparison.mp4, orbit.mp4, front/right/back/left.mp4, middle.ply
saliency.png/mp4        where the input view moves; not for a single frame or a moving camera
metrics.json            metrics, versions, results of the checks of the video; marks a finished run
report.html             all of the above on one page; written last
eval.json               scores on held-out views, if `ds4d eval` was run
.ds4d-lock, .ds4d-*     the lock of a run in progress (`ds4d.runs.lock`), and files that are being written
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Paths of a run's files.

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
