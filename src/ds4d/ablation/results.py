"""What each fit of an ablation found, one small file per fit: folders are merged by copying them together.

results/<case>-<row>-seed<seed>.json    settings, their hash, and figures
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ds4d import __version__
from ds4d.core import first_difference
from ds4d.io import atomic_path

RESULTS = "results"


@dataclass(frozen=True)
class Result:
    """The figures of one fit.

    Attributes:
        case: name of what was fitted.
        scored_on: which images the metrics compare with (see `ds4d.ablation.cases.Case`).
        row: of the ablation.
        seed: of every random draw.
        settings: everything that decides the fit, as json holds it: `case`, `preset` (what the rows share) and `row`.
        metrics: by name; NaN where nothing could be measured.
        seconds: of the fit, without scoring.
        num_gaussians: at the end.
        peak_memory_bytes: `main`, and `gpu` where there is one.
        device: where it was fitted.
        side_by_side: how many fits shared the machine.
        ds4d: the version that fitted it.
    """

    case: str
    scored_on: str
    row: str
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, float]
    seconds: float
    num_gaussians: int
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    device: str = "cpu"
    side_by_side: int = 1
    ds4d: str = __version__

    @property
    def name(self) -> str:
        """Of the fit, and of its file."""
        return fit_name(self.case, self.row, self.seed)


def fit_name(case: str, row: str, seed: int) -> str:
    """What a fit is called."""
    return f"{case}-{row}-seed{seed}"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def result_path(folder: Path, name: str) -> Path:
    """Where the result of a fit stands."""
    return folder / RESULTS / f"{name}.json"


def write_result(folder: Path, result: Result) -> Path:
    """Writes the file of one fit into the ablation's folder; it appears whole or not at all."""
    content = {f.name: getattr(result, f.name) for f in fields(Result)}
    content["metrics"] = {name: None if math.isnan(value) else value for name, value in result.metrics.items()}
    content["settings_hash"] = settings_hash(result.settings)
    path = result_path(folder, result.name)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    return path


def read_results(folder: Path) -> list[Result]:
    """All results in an ablation's folder, sorted by the names of their files.

    Raises:
        ValueError: a file is damaged, or two were made with settings that cannot share a table.
    """
    paths = sorted((folder / RESULTS).glob("*.json"))
    results = [_read(path) for path in paths]
    check_comparable((str(path), result.row, result.settings) for path, result in zip(paths, results, strict=True))
    return results


def check_comparable(fits: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
    """Refuses fits that differ in more than their case, row and seed.

    Args:
        fits: where each comes from (for the message), its row and its settings.

    Raises:
        ValueError: two differ; the message names both and the setting.
    """
    shared: dict[str, tuple[str, Any]] = {}
    for where, row, settings in fits:
        scored_on = settings["case"]["scored_on"]
        for key, value in (
            ("preset", settings["preset"]),
            (f"row {row}", settings["row"]),
            (f"mv of cases scored on {scored_on}", settings["case"]["mv"]),
        ):
            first, theirs = shared.setdefault(key, (where, value))
            difference = first_difference(theirs, value, key)
            if difference is not None:
                raise ValueError(
                    f"{where} must have been made with the settings of {first}, got another {difference}. "
                    "Name another folder with -o, or remove one of the files."
                )


def _read(path: Path) -> Result:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("settings_hash")
        content["metrics"] = {
            name: math.nan if value is None else float(value) for name, value in content["metrics"].items()
        }
        result = Result(**content)
        if digest != settings_hash(result.settings):
            raise ValueError("its settings do not match their hash")
        if path.stem != result.name:
            raise ValueError(f"it is that of {result.name}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} must be the result of a fit: {error}. Remove it, and the fit is made again."
        ) from error
    return result
