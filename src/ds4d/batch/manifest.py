"""What a batch is made of: a manifest (CSV, JSONL, Parquet), a folder, or a pattern, with options per row.

Everything is checked before any work: each row names something that exists, names are unique, options are known and
their values valid. All errors are collected, and name row and column.
"""

import csv
import difflib
import glob
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ds4d.batch.storage import filesystem, is_url, join
from ds4d.core import install_command, tracked
from ds4d.io import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key, parse_json

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
# A batch gives these to each run itself.
_RESERVED = {"input", "output", "o", "resume", "viewer", "json", "quiet", "help", "help-all", "h"}
_NAME = re.compile(r"\w[\w.-]{0,99}")
_MAX_ERRORS = 8
_FLAGS = {"true": True, "false": False}

Row = tuple[str, dict[str, Any]]  # where the row is, for messages, and its values by column


@dataclass(frozen=True)
class Item:
    """One object of a batch.

    Attributes:
        name: unique name, and that of its folder in the output.
        input: path or URL of the video, or of the folder of images or views.
        options: options for `ds4d generate`.
    """

    name: str
    input: str
    options: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What tells apart two objects of the same name."""
        return hashlib.sha256(json.dumps([self.input, *self.options]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class OptionChecks:
    """What is known of the options that rows may have.

    Attributes:
        known: all options, with the leading --.
        check: called with options; raises ValueError if they cannot be used.
    """

    known: frozenset[str]
    check: Callable[[Sequence[str]], None]


def read_items(source: str, checks: OptionChecks, defaults: Mapping[str, Any] | None = None) -> list[Item]:
    """The objects of a batch, all of them checked.

    Args:
        source: path or URL of a manifest, of a folder of videos, or a pattern with * of videos.
        checks: how options are checked.
        defaults: options of all rows, which the columns of a row override.

    Raises:
        ValueError: there are no objects, or some are not valid; the message names rows and columns.
        OSError: the manifest cannot be read.
    """
    rows = list(_rows(source))
    if not rows:
        raise ValueError(f"{source} must name at least one video, got none. Check the path.")
    errors: list[str] = []
    items: list[Item] = []
    seen: dict[str, str] = {}
    verdicts: dict[tuple[str, ...], str | None] = {}
    for where, row in tracked(rows, "checking the rows"):
        try:
            item = _item(source, row, checks, defaults or {})
            _check_input(item.input)
            key = item.name.casefold()  # some file systems do not tell a from A
            if key in seen:
                raise _InvalidError(f"column 'name': {item.name!r} must be unique, got that of {seen[key]} again")
            seen[key] = where
            if item.options not in verdicts:
                verdicts[item.options] = _verdict(item.options, row, checks)
            if (verdict := verdicts[item.options]) is not None:
                raise _InvalidError(verdict)
            items.append(item)
        except _InvalidError as error:
            errors.append(f"{where}, {error}")
    if errors:
        more = f"; and {len(errors) - _MAX_ERRORS} more" if len(errors) > _MAX_ERRORS else ""
        raise ValueError(
            f"{source} must be valid in all rows: {'; '.join(errors[:_MAX_ERRORS])}{more}. Nothing was done."
        )
    return items


class _InvalidError(Exception):
    """What is wrong with a row."""


def _rows(source: str) -> Iterator[Row]:
    suffix = PurePosixPath(source).suffix.lower()
    if suffix in SUFFIXES and not glob.has_magic(source):
        content = _content(source)
        if suffix == ".parquet":
            return _parquet_rows(content)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{source} must be UTF-8, got other bytes. Save it as UTF-8.") from error
        return _csv_rows(text, source) if suffix == ".csv" else _json_rows(text, source)
    return (
        (f"{location}", {"input": location, "name": _name_of(location)})
        for location in sorted(_found(source), key=_natural)
    )


def _content(source: str) -> bytes:
    if not is_url(source):
        return Path(source).read_bytes()
    system, path = filesystem(source)
    return system.cat_file(path)


def _csv_rows(text: str, source: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text))
    try:
        header = [column.strip() for column in next(reader, [])]
        if len(set(header)) != len(header) or "" in header:
            raise ValueError(f"{source} must have different names in all columns of row 1, got {', '.join(header)}.")
        for row in reader:
            if not any(value.strip() for value in row):
                continue
            where = f"row {reader.line_num}"
            if len(row) > len(header):
                raise ValueError(f"{source}, {where}: must have at most {len(header)} columns, got {len(row)}.")
            yield where, {column: value.strip() for column, value in zip(header, row, strict=False)}
    except csv.Error as error:
        raise ValueError(f"{source}, row {reader.line_num}: must be CSV: {error}.") from error


def _json_rows(text: str, source: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{source}, row {number}: must be a JSON object: {error}.") from error
        if not isinstance(row, dict):
            raise ValueError(f"{source}, row {number}: must be a JSON object, got {type(row).__name__}.")
        yield f"row {number}", row


def _parquet_rows(content: bytes) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"a Parquet manifest needs pyarrow. Run {install_command('storage')}") from error
    table = parquet.read_table(io.BytesIO(content))
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"row {number}", row


def _found(source: str) -> Iterable[str]:
    """The videos and folders of images of a folder or of a pattern."""
    if is_url(source):
        system, path = filesystem(source)
        paths = system.glob(path) if glob.has_magic(path) else system.ls(path.rstrip("/") + "/", detail=False)
        found = [system.unstrip_protocol(each) for each in paths]
        return found if glob.has_magic(path) else [each for each in found if each.lower().endswith(VIDEO_SUFFIXES)]
    if glob.has_magic(source) and not Path(source).exists():
        return [path for path in glob.glob(source, recursive=True) if not Path(path).name.startswith(".")]
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(
            f"{source} must be a manifest ({', '.join(SUFFIXES)}), a folder of videos or a pattern, got "
            f"{'one video: use ds4d generate' if folder.is_file() else 'nothing at that path. Check the path'}."
        )
    return [str(path) for path in folder.iterdir() if path.name[0] != "." and _is_input(path)]


def _is_input(path: Path) -> bool:
    """Whether a path in a folder is a video, or a folder of images or views."""
    if path.is_file():
        return path.suffix.lower() in VIDEO_SUFFIXES
    return any(child.suffix.lower() in IMAGE_SUFFIXES or child.name.startswith("transforms_") or child.name == "ref"
               for child in path.iterdir())  # fmt: skip


def _natural(location: str) -> Any:
    return natural_key(Path(location))


def _name_of(location: str) -> str:
    """A name for the object of a location: its last part, with what no name may hold replaced."""
    path = PurePosixPath(location.rstrip("/").split("?")[0])
    stem = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return re.sub(r"[^\w.-]", "_", stem).lstrip("._-")[:100] or "object"


def _item(source: str, row: Mapping[str, Any], checks: OptionChecks, defaults: Mapping[str, Any]) -> Item:
    location = row.get("input")
    if not isinstance(location, str) or not location:
        raise _InvalidError(f"column 'input': must be a path or a URL, got {location!r}")
    is_manifest = PurePosixPath(source).suffix.lower() in SUFFIXES
    if is_manifest and not is_url(location) and not Path(location).is_absolute():
        location = join(source.rsplit("/", 1)[0], location) if is_url(source) else str(Path(source).parent / location)
    name = row.get("name")
    name = _name_of(location) if name in (None, "") else name
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith("."):
        raise _InvalidError(
            f"column 'name': must be letters, digits, -, _ and dots, at most 100, got {str(name)[:120]!r}"
        )
    given = {
        key: value for key, value in row.items() if key not in ("input", "name") and value is not None and value != ""
    }
    words: list[str] = []
    for column, value in {**defaults, **given}.items():
        words += _words(column, value, checks.known)
    return Item(name, location, tuple(words))


def _words(column: str, value: Any, known: frozenset[str]) -> list[str]:
    """An option and its values as `ds4d generate` reads them."""
    key = column.strip().lstrip("-").replace("_", "-")
    option, negation = f"--{key}", f"--no-{key}"
    if key in _RESERVED or not {option, negation} & known:
        near = difflib.get_close_matches(key, [each[2:] for each in known], n=1)
        hint = f"; did you mean {near[0]!r}?" if near and key not in _RESERVED else ""
        raise _InvalidError(
            f"column {column!r}: must be an option of ds4d generate that a batch leaves to its rows{hint}"
        )
    flag = _FLAGS.get(value.lower()) if isinstance(value, str) else value
    if isinstance(flag, bool):
        return [option] if flag else [negation] if negation in known else []
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str | int | float) for each in values):
        raise _InvalidError(f"column {column!r}: must be text, a number, true, false or a list of these, got {value!r}")
    if any(str(each).startswith("--") for each in values):
        raise _InvalidError(f"column {column!r}: must not begin with --, got {value!r}")
    return [option, *(str(each) for each in values)]


def _verdict(options: tuple[str, ...], row: Mapping[str, Any], checks: OptionChecks) -> str | None:
    """What is wrong with the options of a row, and in which column; None if they can be used."""
    try:
        checks.check(options)
        return None
    except ValueError as error:
        message = str(error)
    named = []
    for column in row:
        option = f"--{column.strip().lstrip('-').replace('_', '-')}"
        if match := re.search(rf"{re.escape(option)}(?![\w.-])", message):
            named.append((match.start(), column))
    if named:
        return f"column {min(named)[1]!r}: {message.rstrip('.')}"
    return f"options {' '.join(options)}: {message.rstrip('.')}"


def _check_input(location: str) -> None:
    """Refuses paths that lead nowhere; what is at a URL shows when it is fetched."""
    if is_url(location):
        try:
            filesystem(location)
        except ValueError as error:
            raise _InvalidError(f"column 'input': {str(error).rstrip('.')}") from error
    elif not Path(location).exists():
        raise _InvalidError(f"column 'input': must be an existing file or folder, got {location}")
