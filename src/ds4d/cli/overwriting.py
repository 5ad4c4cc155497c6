"""Nothing is written over unless that was asked for."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_FRAME = re.compile(r"frame\d{4,}(\..+)")


def claim(paths: Iterable[Path], *, force: bool) -> None:
    """Makes sure that files may be written.

    Args:
        paths: of the files.
        force: whether files that are there may be replaced.

    Raises:
        ValueError: one of them is there, and `force` is not set.
    """
    there = [path for path in paths if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ValueError(f"{there[0]}{more} must not exist yet. Name another output, or replace it by --force.")


def claim_frames(folder: Path, suffix: str, count: int, *, force: bool) -> list[Path]:
    """The paths frame0001 to frame<count> in a folder, for a sequence that stands there alone.

    Args:
        folder: of the sequence, there or not.
        suffix: of its files, with the dot.
        count: of its files.
        force: whether a sequence that is there may be replaced; see `leave_alone`.

    Raises:
        ValueError: the folder holds frames of this kind, and `force` is not set.
    """
    paths = [folder / f"frame{index + 1:04d}{suffix}" for index in range(count)]
    claim(_sequence(folder, suffix), force=force)
    return paths


def leave_alone(paths: Sequence[Path]) -> None:
    """Removes what a longer sequence has left beside a new one, once that is written.

    Args:
        paths: of all frames, as `claim_frames` gives them.
    """
    for path in set(_sequence(paths[0].parent, paths[0].name.removeprefix("frame0001"))) - set(paths):
        path.unlink()


def _sequence(folder: Path, suffix: str) -> list[Path]:
    """The files of a numbered sequence of just this kind: .ply is not .compressed.ply."""
    matches = ((path, _FRAME.fullmatch(path.name)) for path in sorted(folder.glob(f"frame*{suffix}")))
    return [path for path, match in matches if match is not None and match[1] == suffix]
