"""Checks of options and of output paths."""

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_FRAME = re.compile(r"frame\d{4,}(\..+)")


def option(name: str) -> str:
    """A field's name as an option."""
    return f"--{name.replace('_', '-')}"


def refuse_set(arguments: Any, names: Iterable[str], reader: str) -> None:
    """Refuses options that would have no effect.

    Args:
        arguments: the parsed arguments, a dataclass.
        names: fields that must have their defaults.
        reader: the option or file that makes them ineffective.

    Raises:
        ValueError: one of the fields is set.
    """
    for name in names:
        if getattr(arguments, name) != getattr(type(arguments), name):
            raise ValueError(
                f"{option(name)} must not be given with {reader}, got {getattr(arguments, name)}. Leave it out."
            )


def check_local(path: Path) -> None:
    """Refuses URLs as inputs.

    Raises:
        ValueError: the path is a URL.
    """
    if re.match(r"[a-zA-Z][\w+.-]+:/", str(path)):
        raise ValueError(f"the input must be a local file or folder, got {path}. URLs are not fetched: download it.")


def check_times(name: str, times: Iterable[float]) -> None:
    """Refuses times outside [0, 1].

    Raises:
        ValueError: a time lies outside, or is NaN.
    """
    outside = [f"{time:g}" for time in times if not 0 <= time <= 1]
    if outside:
        raise ValueError(
            f"{option(name)} must be in [0, 1], from the first frame to the last, got {', '.join(outside)}. "
            "Divide seconds by the clip's duration."
        )


def check_output(path: Path, *, is_folder: bool) -> None:
    """Checks, before any work, that an output can be created.

    Args:
        path: the output.
        is_folder: whether it is a folder, or else a file.

    Raises:
        ValueError: the path is of the other kind, or its folder cannot be created or written.
    """
    if is_folder and path.is_file():
        raise ValueError(f"--output must be a folder, got the file {path}. Choose another path.")
    if not is_folder and path.is_dir():
        raise ValueError(f"--output must be a file, got the folder {path}. Add the name of a file.")
    folder = path if is_folder else path.parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        # Permissions alone do not tell whether a file system accepts files.
        with tempfile.TemporaryDirectory(prefix=".ds4d-", dir=existing):
            pass
    except OSError as error:
        raise ValueError(f"--output {path} cannot be created in {existing}: {error.strerror}.") from error


def check_new_folder(path: Path) -> None:
    """Checks, before any work, that a folder can be created, or is there and empty.

    Raises:
        ValueError: it cannot be created or written, or holds files.
    """
    check_output(path, is_folder=True)
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"--output must be a new or empty folder, got {path}, which holds files. Choose another path.")


def check_overwrite(paths: Iterable[Path], *, force: bool) -> None:
    """Checks that files may be written.

    Args:
        paths: the files.
        force: whether existing files may be replaced.

    Raises:
        ValueError: a file exists, and `force` is not set.
    """
    existing = [path for path in paths if path.exists()]
    if existing and not force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise ValueError(
            f"{existing[0]}{more} must not exist yet. Choose another --output, or replace it with --force."
        )


def frame_paths(folder: Path, suffix: str, count: int, *, force: bool) -> list[Path]:
    """The paths frame0001 to frame<count> of a new sequence in a folder.

    Args:
        folder: folder of the sequence, existing or not.
        suffix: ending of the files, with the dot.
        count: number of files.
        force: whether an existing sequence may be replaced; see `remove_stale`.

    Raises:
        ValueError: the folder holds frames with this ending, and `force` is not set.
    """
    paths = [folder / f"frame{index + 1:04d}{suffix}" for index in range(count)]
    check_overwrite(_sequence(folder, suffix), force=force)
    return paths


def remove_stale(paths: Sequence[Path]) -> None:
    """Removes the remaining frames of a longer, older sequence once a new one is written.

    Args:
        paths: all frames of the new sequence, from `frame_paths`.
    """
    for path in set(_sequence(paths[0].parent, paths[0].name.removeprefix("frame0001"))) - set(paths):
        path.unlink()


def _sequence(folder: Path, suffix: str) -> list[Path]:
    """The files of a numbered sequence with exactly this ending: .ply is not .compressed.ply."""
    matches = ((path, _FRAME.fullmatch(path.name)) for path in sorted(folder.glob(f"frame*{suffix}")))
    return [path for path, match in matches if match is not None and match[1] == suffix]
