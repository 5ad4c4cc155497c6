"""Loading of pretrained models: JSON settings, safetensors, and .bin or .pth files that contain nothing but tensors."""

import re
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ds4d import io
from ds4d.core import install_command
from ds4d.io import check_regular, read_json
from ds4d.weights.models import Part

_MAX_SETTINGS_BYTES, _MAX_WEIGHTS_BYTES = 2**25, 2**35
_COUNTS = re.compile("layers|depth|blocks|heads|registers|register_tokens")  # names of settings that count parts
_MAX_COUNT = 256
_MAX_SIDE = 4096  # pixels of the images that a preprocessor makes
_MAX_NUMBER = 2**20  # of any other setting: widths, sizes, indices of tokens


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
        settings = read_json(path)
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
        return io.read_shapes(path)
    except OSError as error:
        raise ValueError(f"{path} must be a safetensors file, got none that can be read ({error}).") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors, .bin or .pth file, by name, on the CPU.

    Raises:
        ValueError: the file cannot be read, or contains anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return io.read_safetensors(path)[0]
        _check_archive(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may trip the reader anywhere
        raise ValueError(
            f"{path} must be a complete file of tensors, got one that cannot be read safely ({_reason(error)}). "
            "Download it again, as safetensors if there is such a file."
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
    _check_files(part, folder)
    with _quiet(package):
        loader = getattr(package, class_name)
        if file is not None:
            return _load_network(loader, package.__name__, folder, file).to(dtype).eval().requires_grad_(False)
        try:
            return loader.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever the libraries meet in files that are damaged or hostile
            raise ValueError(
                f"{folder} must hold a complete {class_name}, got files that cannot be used ({_reason(error)}). "
                "Download them again."
            ) from error


def _load_network(loader: Any, package: str, folder: Path, file: Path) -> Any:
    safe, variant = file.suffix == ".safetensors", Path(file.stem).suffix.lstrip(".") or None
    if safe:
        read_shapes(file)
    try:
        if not safe:
            _check_archive(file)
        _check_size(loader, package, folder, file.stat().st_size)
        network, report = loader.from_pretrained(
            folder, local_files_only=True, use_safetensors=safe, variant=variant, output_loading_info=True
        )
    except Exception as error:  # other shapes, inconsistent settings, a truncated file, or whatever hostile ones do
        raise ValueError(
            f"{file} must match the network that config.json beside it describes, got other weights "
            f"({_reason(error)}). Download both files from the same source."
        ) from error
    if report["missing_keys"]:
        raise ValueError(
            f"{file} must contain all weights of the network, got none for "
            f"{', '.join(sorted(report['missing_keys'])[:3])}. Download the file again."
        )
    return network


def _check_archive(path: Path) -> None:
    """Refuses a .bin or .pth file that grows when it is unpacked; torch itself stores weights as they are."""
    size = check_regular(path, max_bytes=_MAX_WEIGHTS_BYTES)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > size:
            raise ValueError(f"it would unpack to {unpacked} bytes from {size}")


def _check_files(part: Part, folder: Path) -> None:
    """Refuses settings and vocabularies that the libraries would read without limits."""
    for name in (part.settings, *part.files):
        if name:
            check_regular(folder / name, max_bytes=_MAX_SETTINGS_BYTES)
    if part.settings:
        settings = read_settings(folder / part.settings)
        try:
            if not part.files:  # a tokenizer has no sizes, but may have an infinite length
                _check_numbers(settings, limit=_MAX_SIDE if part.settings.startswith("preprocessor") else _MAX_NUMBER)
        except ValueError as error:
            raise ValueError(f"{folder / part.settings}: {error}. Download the file again.") from error


def _check_numbers(settings: Any, name: str = "config.json", limit: int = _MAX_NUMBER) -> None:
    """Refuses settings from which not even the outline of a network can be made in bounded time and memory."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            _check_numbers(value, key, _MAX_COUNT if _COUNTS.search(key) else limit)
    elif isinstance(settings, list):
        if len(settings) > _MAX_COUNT:
            raise ValueError(f"{name} must have at most {_MAX_COUNT} entries, got {len(settings)}")
        for value in settings:
            _check_numbers(value, name, limit)
    elif isinstance(settings, int | float) and not abs(settings) <= limit:
        raise ValueError(f"{name} must be at most {limit}, got {settings}")


def _check_size(loader: Any, package: str, folder: Path, num_bytes: int) -> None:
    """Refuses settings of a network with more parameters than its file has bytes, before it is allocated."""
    with torch.device("meta"):
        if package == "diffusers":
            network = loader.from_config(loader.load_config(folder, local_files_only=True))
        elif hasattr(loader, "config_class"):
            network = loader(loader.config_class.from_pretrained(folder, local_files_only=True))
        else:  # AutoModel
            settings = import_module(package).AutoConfig.from_pretrained(folder, local_files_only=True)
            network = loader.from_config(settings)
    count = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    if count > num_bytes + _MAX_NUMBER:  # buffers are not always stored
        raise ValueError(f"config.json describes {count} numbers, the file has {num_bytes} bytes")


def _reason(error: Exception) -> str:
    """The first sentence of an error: torch's go on with advice to load files unsafely."""
    return re.split(r"(?<=[.!])\s|\n", f"{str(error).strip() or type(error).__name__}", maxsplit=1)[0][:200]


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
