"""The files of a flipbook: which they are, and which one each frame shows."""

from collections import Counter
from pathlib import Path

from ds4d.core import Warned, notify
from ds4d.io import natural_key
from ds4d.shapes import SHAPE_SUFFIXES

_FIX = "Give a folder with one 3D file per frame, or a pattern such as 'shapes/*.ply'."


def list_files(given: Path | None) -> list[Path]:
    """The files in the order of the numbers in their names.

    Args:
        given: a folder, or a path whose last parts may have the wildcards * and ?.

    Raises:
        ValueError: nothing is given, there are no 3D files, or files of several formats.
    """
    if given is None:
        raise ValueError(f"--flipbook must be given with --views flipbook, got none. {_FIX}")
    if given.is_dir():
        found = [path for path in given.iterdir() if path.suffix.lower() in SHAPE_SUFFIXES]
    elif given.is_file():
        found = [given]
    else:
        found = _matching(given)
    files = [path for path in found if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise ValueError(f"--flipbook {given} must have 3D files ({', '.join(SHAPE_SUFFIXES)}), got none. {_FIX}")
    formats = Counter(path.suffix.lower() for path in files)
    if len(formats) > 1:
        counts = " and ".join(f"{count} {suffix}" for suffix, count in sorted(formats.items()))
        raise ValueError(
            f"--flipbook {given} must have files of one format, got {counts}. Give a pattern that selects one, such as "
            f"'{given if given.is_dir() else given.parent}/*{min(formats)}'."
        )
    return sorted(files, key=lambda path: [natural_key(Path(part)) for part in path.parts])


def _matching(pattern: Path) -> list[Path]:
    """The files that a path with wildcards matches."""
    parts = pattern.parts
    first = next((index for index, part in enumerate(parts) if set(part) & set("*?[")), None)
    if first is None:
        return []
    return list(Path(*parts[:first]).glob(str(Path(*parts[first:]))))


def files_of_frames(num_files: int, num_frames: int) -> list[int]:
    """The index of the file that each frame shows: of another number of files, the nearest in time, with a notice.

    The first and the last file are those of the first and the last frame; a single frame shows the middle file.
    """
    if num_files == num_frames:
        return list(range(num_frames))
    noun = "file" if num_files == 1 else "files"
    message = (
        f"the flipbook has {num_files} {noun} for {num_frames} frames: each frame shows the file nearest in time. "
        + ("The shape does not move." if num_files == 1 else f"Use --frames {num_files}, or give one file per frame.")
    )
    notify(Warned("views", message))
    if num_frames == 1:
        return [num_files // 2]
    return [round(frame * (num_files - 1) / (num_frames - 1)) for frame in range(num_frames)]
