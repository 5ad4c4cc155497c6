"""Where pretrained models lie: a given path, the environment's, $DS4D_WEIGHTS, the Hugging Face cache, a package."""

import hashlib
import importlib.util
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from ds4d.io import read_cached, write_cached
from ds4d.weights.loading import read_settings, weights_file
from ds4d.weights.models import Part, PretrainedModel

_BLOCK = 2**24  # bytes
_SETTLED_NS = 2_000_000_000  # a younger file may still change without another modification time


@dataclass(frozen=True)
class SearchPath:
    """Somewhere a model may lie.

    Attributes:
        name: what leads there.
        path: the model's folder, or its file where it is a single one.
    """

    name: str
    path: Path


def places(model: PretrainedModel, given: str | Path | None = None) -> list[SearchPath]:
    """Where a model is looked for, in this order.

    Args:
        model: of `MODELS`.
        given: its folder or file, if the user named one; then nowhere else.
    """
    if given is not None:
        return [SearchPath("given", Path(given).expanduser())]
    found = []
    if model.variable and (named := os.environ.get(model.variable)):
        found.append(SearchPath(model.variable, Path(named).expanduser()))
    if root := os.environ.get("DS4D_WEIGHTS"):
        found.append(SearchPath("DS4D_WEIGHTS", Path(root).expanduser() / model.name))
    if model.source and (cached := _in_hub_cache(model)):
        found.append(SearchPath("Hugging Face cache", cached))
    if model.package and (shipped := _in_package(*model.package)):
        found.append(SearchPath(model.package[0], shipped))
    return found


def faults(model: PretrainedModel, path: Path) -> list[str]:
    """What keeps a folder (or a single file) from being the model, in words; nothing where it is whole.

    Only names and settings are read, no weights.
    """
    return [fault for part in model.parts for fault in _faults_of(part, path)]


def find_model(model: PretrainedModel, given: str | Path | None = None) -> Path | None:
    """The first place where a model lies whole; None where it does not.

    Args:
        model: of `MODELS`.
        given: its folder or file, if the user named one.
    """
    return next((place.path for place in places(model, given) if not faults(model, place.path)), None)


def require_model(model: PretrainedModel, given: str | Path | None = None) -> Path:
    """The first place where a model lies whole.

    Args:
        model: of `MODELS`.
        given: its folder or file, if the user named one.

    Raises:
        ValueError: it does not; the message names every place, what it lacks or holds instead, and the mend.
    """
    if found := find_model(model, given):
        return found
    looked = places(model, given)
    got = "; and ".join(f"{faults(model, place.path)[0]} in {place.path}" for place in looked)
    name = f"{model.title} ({model.source})" if model.source else model.title
    raise ValueError(
        f"{name} must lie in a folder that is named, in $DS4D_WEIGHTS/{model.name}"
        f"{' or in the Hugging Face cache' * bool(model.source)}, got {got or 'none of them'}. "
        f"Where there is a network: {model.how_to_get('FOLDER')}; then name that folder. See ds4d weights."
    )


def model_files(model: PretrainedModel, path: Path) -> list[Path]:
    """The files of a model that lies whole in a folder (or is that single file), in a fixed order."""
    files = []
    for part in model.parts:
        base = path / part.folder
        files += [base / name for name in (part.settings, *part.files) if name]
        weights = weights_file(part, path)
        files += [weights] if weights else []
    return files


def weights_digest(model: PretrainedModel, path: Path) -> str:
    """SHA-256 of the concatenated files of a model.

    It is cached by the path, size and modification time of the files, so that gigabytes are read once.
    """
    files = model_files(model, path)
    stats = [(str(file.resolve()), stat.st_size, stat.st_mtime_ns) for file in files for stat in (file.stat(),)]
    key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()
    if (cached := read_cached("digests", key)) is not None:
        return bytes(cached["sha256"].tolist()).hex()
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    if all(modified < time.time_ns() - _SETTLED_NS for _, _, modified in stats):
        write_cached("digests", key, {"sha256": torch.tensor(list(digest.digest()), dtype=torch.uint8)})
    return digest.hexdigest()


def _faults_of(part: Part, path: Path) -> list[str]:
    base = Path(part.folder)
    lacking = [name for name in (part.settings, *part.files) if name and not (path / base / name).is_file()]
    found = [f"no {base / name}" for name in lacking]
    if part.settings and part.settings not in lacking:
        found += _contradictions(part, path / base / part.settings)
    if part.weights and weights_file(part, path) is None:
        found.append(f"no {base / part.weights[0]}")
    return found


def _contradictions(part: Part, settings_path: Path) -> list[str]:
    name = Path(part.folder) / settings_path.name
    try:
        settings = read_settings(settings_path)
    except ValueError:
        return [f"a {name} that is no json object"]
    return [
        f"another model, whose {name} must say {key} {' or '.join(map(str, values))}, got {settings.get(key)!r},"
        for key, values in part.says.items()
        if settings.get(key) not in values
    ]


def _in_hub_cache(model: PretrainedModel) -> Path | None:
    """The folder in which the hub's cache holds a model, or would; None where the hub's package is not installed."""
    try:
        from huggingface_hub import constants, try_to_load_from_cache
    except ImportError:
        return None
    root = Path(constants.HF_HUB_CACHE)
    for part in model.parts:
        for name in (part.settings, *part.files, *part.weights):
            if not name or "*" in name:
                continue
            file = Path(part.folder) / name
            found = try_to_load_from_cache(model.source, file.as_posix(), cache_dir=root)
            if isinstance(found, str):
                return Path(found).parents[len(file.parts) - 1]
    return root / f"models--{model.source.replace('/', '--')}"


def _in_package(package: str, folder: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / folder if spec and spec.origin else None
