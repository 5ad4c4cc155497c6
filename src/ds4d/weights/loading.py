"""Loading of pretrained models: JSON settings, safetensors, and .bin or .pth files that contain nothing but tensors."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ds4d.core import install_command
from ds4d.weights.models import Part


def weights_file(part: Part, path: Path) -> Path | None:
    """The weights file of a part in a model's folder, or the model's single file; None if it does not exist."""
    if path.is_file():
        return path if any(path.suffix == Path(name).suffix for name in part.weights) else None
    found = (file for name in part.weights for file in sorted((path / part.folder).glob(name)) if file.is_file())
    return next(found, None)


def read_settings(path: Path) -> dict[str, Any]:
    """Reads a file that contains a JSON object.

    Raises:
        ValueError: the file contains something else.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got {error}. Download the file again.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must be a JSON object, got {settings!r}. Download the file again.")
    return settings


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, by name, read from its header.

    Raises:
        ValueError: the file is incomplete or of another format.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} must be a complete safetensors file, got one that cannot be read ({error}). Download it again."
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors, .bin or .pth file, by name, on the CPU.

    Raises:
        ValueError: the file cannot be read, or contains anything but tensors.
    """
    if path.suffix == ".safetensors":
        read_shapes(path)
        return load_file(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may trip the reader anywhere
        raise ValueError(
            f"{path} must be a complete file of tensors, got one that cannot be read safely "
            f"({' '.join(str(error).split())[:200]}). Download it again, as safetensors if there is such a file."
        ) from error
    if not (isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())):
        raise ValueError(f"{path} must contain tensors by name, got {type(found).__name__}. Give another file.")
    return found


def load_part(part: Part, path: Path, *, dtype: torch.dtype = torch.float32) -> Any:
    """Loads one part of a model: a frozen network, a scheduler, a tokenizer or a preprocessor.

    Args:
        part: part with a loader.
        path: folder of the model, which contains the complete part.
        dtype: data type of a network's weights.

    Raises:
        ImportError: the loader's package is not installed.
        ValueError: the weights are damaged, or do not match the settings beside them.
    """
    name, class_name = part.loader.split(".")
    package, folder, file = _imported(name), path / part.folder, weights_file(part, path)
    with _quiet(package):
        loader = getattr(package, class_name)
        if file is None:
            return loader.from_pretrained(folder, local_files_only=True)
        return _load_network(loader, folder, file).to(dtype).eval().requires_grad_(False)


def _load_network(loader: Any, folder: Path, file: Path) -> Any:
    safe, variant = file.suffix == ".safetensors", Path(file.stem).suffix.lstrip(".") or None
    if safe:
        read_shapes(file)
    try:
        network, report = loader.from_pretrained(
            folder, local_files_only=True, use_safetensors=safe, variant=variant, output_loading_info=True
        )
    except (RuntimeError, ValueError, OSError) as error:  # other shapes, inconsistent settings, or a truncated file
        raise ValueError(
            f"{file} must match the network that config.json beside it describes, got other weights "
            f"({error}). Download both files from the same source."
        ) from error
    if report["missing_keys"]:
        raise ValueError(
            f"{file} must contain all weights of the network, got none for "
            f"{', '.join(sorted(report['missing_keys'])[:3])}. Download the file again."
        )
    return network


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(
            f"pretrained networks need {package}. Install it with: {install_command('priors')}"
        ) from error


@contextmanager
def _quiet(package: Any) -> Generator[None, None, None]:
    """Disables the progress bar of loading, and the log of what is raised as an error."""
    logging = package.utils.logging
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
