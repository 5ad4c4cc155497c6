"""The result of each fit of an ablation, one small file per fit: folders can be merged by copying them together.

results/<scene>-<variant>-seed<seed>.json    settings, their hash, and what was measured
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ds4d import __version__
from ds4d.core import first_difference, from_dict
from ds4d.io import atomic_path, read_json

RESULTS = "results"


@dataclass(frozen=True)
class Result:
    """What was measured of one fit.

    Attributes:
        scene: name of the scene.
        scored_on: images that the metrics compare with (see `ds4d.ablation.scenes.AblationScene`).
        variant: name of the variant.
        seed: random seed.
        settings: everything that determines the fit, as JSON: `scene`, `preset` (what the variants share) and
            `variant`.
        metrics: metrics by name; NaN where nothing could be measured.
        not_computed: why further metrics that were asked for have no value, and what to do, by their name.
        seconds: duration of the fit without scoring.
        num_gaussians: number of Gaussians at the end.
        peak_memory_bytes: peak memory of the process (`main`) and of the GPU (`gpu`).
        device: device of the fit.
        side_by_side: number of fits that ran at the same time.
        ds4d: version of ds4d that made the fit.
    """

    scene: str
    scored_on: str
    variant: str
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, float]
    seconds: float
    num_gaussians: int
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    side_by_side: int = 1
    ds4d: str = __version__

    @property
    def name(self) -> str:
        """Name of the fit and of its file."""
        return fit_name(self.scene, self.variant, self.seed)


def fit_name(scene: str, variant: str, seed: int) -> str:
    """The name of a fit."""
    return f"{scene}-{variant}-seed{seed}"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, independent of the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def result_path(folder: Path, name: str) -> Path:
    """Path of the result of a fit."""
    return folder / RESULTS / f"{name}.json"


def write_result(folder: Path, result: Result) -> Path:
    """Writes the result of one fit into the ablation's folder, atomically."""
    content = {f.name: getattr(result, f.name) for f in fields(Result)}
    content["metrics"] = {name: None if math.isnan(value) else value for name, value in result.metrics.items()}
    content["settings_hash"] = settings_hash(result.settings)
    path = result_path(folder, result.name)
    with atomic_path(path, durable=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    return path


def read_results(folder: Path) -> list[Result]:
    """All results in an ablation's folder, sorted by file name.

    Raises:
        ValueError: a file is damaged, or two have settings that cannot be compared.
    """
    paths = sorted((folder / RESULTS).glob("*.json"))
    results = [_read(path) for path in paths]
    check_comparable((str(path), result.variant, result.settings) for path, result in zip(paths, results, strict=True))
    return results


def check_comparable(fits: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
    """Refuses fits that differ in more than their scene, variant and seed.

    Args:
        fits: source of each fit (for the message), its variant and its settings.

    Raises:
        ValueError: two differ; the message names both and the setting.
    """
    shared: dict[str, tuple[str, Any]] = {}
    for source, variant, settings in fits:
        scored_on = settings["scene"]["scored_on"]
        for key, value in (
            ("preset", settings["preset"]),
            (f"variant {variant}", settings["variant"]),
            (f"perturbation of scenes scored on {scored_on}", settings["scene"]["perturbed"]),
            (f"strength of it in scenes scored on {scored_on}", settings["scene"].get("strength", 1.0)),
        ):
            first, theirs = shared.setdefault(key, (source, value))
            difference = first_difference(theirs, value, key)
            if difference is not None:
                raise ValueError(
                    f"{source} must have the settings of {first}, got another {difference}. "
                    "Choose another folder with -o, or remove one of the files."
                )


def _read(path: Path) -> Result:
    try:
        content = read_json(path)
        digest = content.pop("settings_hash")
        content["metrics"] = {
            name: math.nan if value is None else float(value) for name, value in content["metrics"].items()
        }
        result = from_dict(Result, content)
        if digest != settings_hash(result.settings):
            raise ValueError("its settings do not match their hash")
        if path.stem != result.name:
            raise ValueError(f"it belongs to {result.name}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} must be the result of a fit: {error}. Remove it to make the fit again.") from error
    return result
