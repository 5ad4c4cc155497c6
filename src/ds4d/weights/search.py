"""Search for pretrained models: a given path, $DS4D_WEIGHTS, the Hugging Face cache, downloads, installed packages."""

import contextlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from ds4d.io import cache_folder
from ds4d.weights.loading import read_settings, weights_file
from ds4d.weights.models import Part, PretrainedModel


@dataclass(frozen=True)
class SearchPath:
    """A path at which a model is searched for.

    Attributes:
        name: where the path comes from: `given`, an environment variable, the Hugging Face cache, or a package.
        path: folder of the model, or its file if it is a single one.
    """

    name: str
    path: Path


def search_paths(model: PretrainedModel, given: str | Path | None = None) -> list[SearchPath]:
    """The paths at which a model is searched for, in this order.

    Args:
        model: entry of `MODELS`.
        given: its folder or file, which is then the only search path.
    """
    if given is not None:
        return [SearchPath("given", _expanded(given))]
    found = []
    if model.variable and (named := os.environ.get(model.variable)):
        found.append(SearchPath(model.variable, _expanded(named)))
    if root := os.environ.get("DS4D_WEIGHTS"):
        found.append(SearchPath("DS4D_WEIGHTS", _expanded(root) / model.name))
    if model.source and (cached := _in_hub_cache(model)):
        found.append(SearchPath("Hugging Face cache", cached))
    if model.download:
        with contextlib.suppress(OSError):  # there may be no home folder
            found.append(SearchPath("downloaded", cache_folder("weights") / model.name))
    if model.package and (shipped := _in_package(*model.package)):
        found.append(SearchPath(model.package[0], shipped))
    return found


def problems(model: PretrainedModel, path: Path) -> list[str]:
    """What is missing from a folder (or single file), or contradicts the model; empty if the model is complete.

    Reads names and settings only, no weights.

    Args:
        model: entry of `MODELS`.
        path: folder, or single file.
    """
    return [problem for part in model.parts for problem in _problems_of(part, path)]


def find_model(model: PretrainedModel, given: str | Path | None = None) -> Path | None:
    """The first search path with the complete model; None if there is none.

    Args:
        model: entry of `MODELS`.
        given: its folder or file, which is then the only search path.
    """
    return next((found.path for found in search_paths(model, given) if not problems(model, found.path)), None)


def require_model(model: PretrainedModel, given: str | Path | None = None) -> Path:
    """The first search path with the complete model.

    Args:
        model: entry of `MODELS`.
        given: its folder or file, which is then the only search path.

    Raises:
        ValueError: there is none; the message says what is wrong at every search path and how to get the model.
    """
    if found := find_model(model, given):
        return found
    searched = search_paths(model, given)
    got = "; ".join(f"{path.path}: {problems(model, path.path)[0]}" for path in searched)
    name = f"{model.title} ({model.source})" if model.source else model.title
    raise ValueError(
        f"{name} must be in a given folder, in $DS4D_WEIGHTS/{model.name}"
        f"{' or in the Hugging Face cache' * bool(model.source)}, got {got or 'no folder'}. "
        f"Get it with: {model.how_to_get('FOLDER')}. `ds4d weights` lists all models."
    )


def model_files(model: PretrainedModel, path: Path) -> list[Path]:
    """The files of a complete model in a folder (or that single file), in a fixed order."""
    files = []
    for part in model.parts:
        base = path / part.folder
        files += [base / name for name in (part.settings, *part.files) if name]
        weights = weights_file(part, path)
        files += [weights] if weights else []
    return files


def _expanded(path: str | Path) -> Path:
    """A path without ~; unlike `Path.expanduser`, it leaves a home that is not known as it is."""
    return Path(os.path.expanduser(path))


def _problems_of(part: Part, path: Path) -> list[str]:
    base = Path(part.folder)
    missing = [name for name in (part.settings, *part.files) if name and not (path / base / name).is_file()]
    found = [f"{base / name} is missing" for name in missing]
    if part.settings and part.settings not in missing:
        found += _contradictions(part, path / base / part.settings)
    if part.weights and weights_file(part, path) is None:
        found.append(f"{base / part.weights[0]} is missing")
    return found


def _contradictions(part: Part, settings_path: Path) -> list[str]:
    name = Path(part.folder) / settings_path.name
    try:
        settings = read_settings(settings_path)
    except ValueError:
        return [f"{name} is no JSON object"]
    return [
        f"{name} is of another model: {key} must be {' or '.join(map(str, values))}, got {settings.get(key)!r}"
        for key, values in part.expected.items()
        if settings.get(key) not in values
    ]


def _in_hub_cache(model: PretrainedModel) -> Path | None:
    """The folder of a model in the hub's cache, whether or not it exists; None if huggingface_hub is not installed."""
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
