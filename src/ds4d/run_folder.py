"""The folder of one run: what stands where in it, whose it is, and whether it is whole.

config.json             all settings with the input, written first
film.json               where the pictures lie in the film they come from, if they do, and its camera
log.jsonl               losses, one json object per line
tensorboard/            the same for TensorBoard, if asked for
checkpoints/            the latest state of the fit; its last one stays
scene.safetensors/json  the fitted scene, baked.safetensors the Gaussians of its frames
contact_sheet.png, loss.png, comparison.mp4, orbit.mp4, front/right/back/left.mp4, middle.ply
heatmap.png/mp4         where the real video moves, unless it cannot be told (one frame, or a camera that moves)
metrics.json            figures, versions, what was found about a film; a folder that holds one is whole
report.html             all of the above on one page, made of them at the end
eval.json               scores on views that were not fitted, if asked for later
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ds4d import __version__
from ds4d.config import first_difference, from_dict, to_dict
from ds4d.imaging import atomic_path
from ds4d.logs import read_log
from ds4d.presets import GenerateConfig
from ds4d.video import Framing
from ds4d.views import ViewsSource


@dataclass(frozen=True)
class RunRecord:
    """What a run was asked to do.

    Attributes:
        input: the film or folder it reads.
        device: what it works on; it may be resumed on another.
        config: all settings, as they were asked for.
        views: where its views come from; `auto` until that is known.
        ds4d: the version that wrote it.
    """

    input: Path
    device: str
    config: GenerateConfig
    views: ViewsSource = "auto"
    ds4d: str = __version__

    @property
    def reading(self) -> GenerateConfig:
        """The settings that read the same views on every machine, whatever is at hand there."""
        return replace(self.config, views=replace(self.config.views, views=self.views))


@dataclass(frozen=True)
class FilmPlace:
    """How the pictures of a run lie in the film that they come from.

    Attributes:
        framing: the square that was cut from it.
        viewmat: of the film's camera, 4 x 4, in the user's world.
        K: of that camera for the framed pictures, 3 x 3, pixels.
    """

    framing: Framing
    viewmat: tuple[tuple[float, ...], ...]
    K: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The record of the run."""
        return self.path / "config.json"

    @property
    def film(self) -> Path:
        """The place in the film, of a run that was made of one."""
        return self.path / "film.json"

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
        """What the scene's tensors mean; where it stands, they do too."""
        return self.path / "scene.json"

    @property
    def metrics(self) -> Path:
        """The figures of a finished run."""
        return self.path / "metrics.json"

    @property
    def evaluation(self) -> Path:
        """Scores on views that were not fitted."""
        return self.path / "eval.json"

    @property
    def report(self) -> Path:
        """The whole run on one page."""
        return self.path / "report.html"

    def check_unused(self) -> None:
        """Refuses a folder that holds anything.

        Raises:
            ValueError: it is a file, or holds a run or other things.
        """
        if self.config.is_file():
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got one that holds another run. "
                "Name another folder, or go on with that run by --resume."
            )
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise ValueError(
                f"output {self.path} must be a new or empty folder, got "
                f"{'one that holds other files' if self.path.is_dir() else 'a file'}. Name another."
            )

    def check_fitted(self) -> None:
        """Refuses a folder that holds no whole scene yet.

        Raises:
            ValueError: it is no folder of a run, or its fit is still running or was stopped.
        """
        if not self.config.is_file():
            found = "no such folder" if not self.path.exists() else "one without a config.json"
            raise ValueError(
                f"run {self.path} must be the output folder of `ds4d generate`, got {found}. Check the path."
            )
        self.check_scene()

    def check_resumable(self, record: RunRecord) -> None:
        """Refuses a folder whose run was asked to do something else.

        Raises:
            ValueError: it holds no run, or one that differs in a setting; the message names the setting.
        """
        if not self.config.is_file():
            raise ValueError(f"output {self.path} must hold a run to resume, got none. Leave --resume out.")
        theirs = read_record(self.config)
        key = first_difference(_compared(theirs), _compared(record))
        if key is not None:
            old, new = _look_up(_compared(theirs), key), _look_up(_compared(record), key)
            raise ValueError(
                f"{key} must be that of the run in {self.path}, {old!r}, to resume it, got {new!r}. "
                "Use the same settings, or name another folder."
            )

    def check_scene(self) -> None:
        """Refuses a folder whose scene is not there yet; other folders without one are named when the scene is read.

        Raises:
            ValueError: its fit is still going on, or was broken off.
        """
        if self.config.is_file() and not self.scene.is_file():
            record, steps = read_record(self.config), read_log(self.log)
            done = steps[-1]["step"] if steps else 0
            raise ValueError(
                f"run {self.path} must be fitted to its end, got step {done} of {record.config.fit.total_steps}. "
                "Wait for it if it is running, or go on with it by the same command with --resume."
            )

    def open(self, record: RunRecord, place: FilmPlace | None = None) -> None:
        """Makes the folder and writes the record into it, with the place of a film's pictures."""
        self.path.mkdir(parents=True, exist_ok=True)
        if place is not None:
            _write_json(self.film, to_dict(place))
        _write_json(self.config, to_dict(record))

    def read_film_place(self) -> FilmPlace:
        """Where the run's pictures lie in their film.

        Raises:
            ValueError: the run was not made of a film, or the file is damaged.
        """
        if not self.film.is_file():
            raise ValueError(
                f"{self.path} must be a run that was made of a film, got one without {self.film.name}. Make one with: "
                "ds4d generate FILM -o RUN"
            )
        try:
            return from_dict(FilmPlace, json.loads(self.film.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{self.film} must say where a film's pictures lie: {error}") from error

    def finish(self, metrics: dict[str, Any]) -> None:
        """Writes the figures, which says that the run is whole."""
        _write_json(self.metrics, metrics)

    def read_metrics(self) -> dict[str, Any]:
        """The figures of a whole run, as `finish` wrote them.

        Raises:
            ValueError: the folder holds no run, or one that is running, was stopped, or is damaged.
        """
        self.check_fitted()
        if not self.metrics.is_file():
            raise ValueError(
                f"run {self.path} must be whole, got one without {self.metrics.name}. Wait if it is running, or go on "
                "with it by the same command with --resume."
            )
        return read_json(self.metrics)


def read_record(path: Path) -> RunRecord:
    """The record in a config.json.

    Raises:
        ValueError: the file is missing, damaged, or of a version with other settings.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be the config.json of a run, got nothing there. Check the path.")
    content = None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return from_dict(RunRecord, content)
    except ValueError as error:
        if newer := _newer_version(content):
            raise ValueError(
                f"{path} must be readable here, got that of ds4d {newer}, newer than this ds4d {__version__}. "
                f"Update ds4d. ({error})"
            ) from error
        raise ValueError(f"{path} must be the config.json of a run: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a json file of a run.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be a json file of a run: {error}. Generate it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object with keys, got {content!r}. Generate it again.")
    return content


def _newer_version(content: Any) -> str | None:
    """The version that wrote a record, if it is newer than this one."""
    written_by = str(content.get("ds4d")) if isinstance(content, dict) else ""
    try:
        return written_by if Version(written_by) > Version(__version__) else None
    except InvalidVersion:
        return None


def _compared(record: RunRecord) -> dict[str, Any]:
    """The part of a record that decides what the fit does: not what is drawn or logged."""
    config = to_dict(record.config)
    del config["outputs"], config["log"]
    return {"input": str(record.input), **config}


def _look_up(nested: Any, key: str) -> Any:
    for name in key.split("."):
        nested = nested.get(name) if isinstance(nested, dict) else None
    return nested


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
