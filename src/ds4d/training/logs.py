"""Logs of the losses, written during training."""

import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds4d.core import check_ranges, install_command
from ds4d.io import atomic_path, is_finite_number, parse_json, read_text
from ds4d.training.events import StepDone

_NO_LOSSES = {"step", "stage", "seconds", "num_gaussians"}  # keys of an entry that are no losses
_COUNTS = ("step", "num_gaussians")
_MAX_BYTES = 2**29
_REQUIRED = {*_NO_LOSSES, "loss"}  # keys of every entry; its terms follow


@dataclass(frozen=True)
class LogConfig:
    """Logging of the losses.

    Attributes:
        every: steps between two log entries.
        tensorboard: also write TensorBoard files (needs the extra `log`).
    """

    every: int = 10
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, every="[1, inf)")


class LossLog:
    """A JSON Lines file with step, stage, seconds, num_gaussians, loss and each term per entry.

    Args:
        path: path of the file, which is created or continued.
        keep_until: step after which old entries are dropped, because training repeats those steps; 0 starts a new file.
    """

    def __init__(self, path: Path, *, keep_until: int) -> None:
        kept = [entry for entry in read_log(path) if entry["step"] <= keep_until] if keep_until else []
        with atomic_path(path) as temporary:
            temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def write(self, done: StepDone) -> None:
        """Adds one entry and flushes it to disk."""
        head = {"step": done.step, "stage": done.stage, "seconds": round(done.seconds, 3)}
        self._file.write(_line({**head, "num_gaussians": done.num_gaussians, "loss": done.loss, **done.terms}))
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoardLog:
    """Losses as TensorBoard scalars, in a folder of their own.

    Raises:
        ImportError: the extra `log` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_tensorboard()
        from tensorboard.summary import Writer

        self._writer = Writer(str(folder))

    def write(self, done: StepDone) -> None:
        """Adds the losses of one step."""
        for name, value in {"loss": done.loss, "num_gaussians": done.num_gaussians, **done.terms}.items():
            self._writer.add_scalar(name, value, done.step)

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()


def check_tensorboard() -> None:
    """Checks that TensorBoard is installed.

    Raises:
        ImportError: the extra `log` is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(f"--log.tensorboard needs TensorBoard. Install it with: {install_command('log')}")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a `LossLog`; an incomplete last line is skipped.

    Raises:
        ValueError: another line is damaged.
    """
    if not path.is_file() or not path.stat().st_size:
        return []
    try:
        lines = read_text(path, max_bytes=_MAX_BYTES).splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text, got {error}. Remove the file.") from error
    return [_entry(path, number, line) for number, line in enumerate(lines, start=1) if line.endswith("\n")]


def _entry(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = parse_json(line)
    except ValueError:
        entry = None
    numbers = {name: value for name, value in entry.items() if name != "stage"} if isinstance(entry, dict) else {}
    is_whole = all(isinstance(numbers.get(name), int) for name in _COUNTS)
    is_known = isinstance(entry, dict) and entry.keys() >= _REQUIRED and isinstance(entry["stage"], str)
    if not (is_known and is_whole and all(map(is_finite_number, numbers.values()))):
        raise ValueError(
            f"{path}: line {number} must be an object with the keys {', '.join(sorted(_REQUIRED))}, all of them but "
            f"stage finite numbers, got {line[:60]!r}. Remove the line."
        )
    return entry


def loss_names(log: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the losses in a log, in order of first appearance."""
    return list(dict.fromkeys(name for entry in log for name in entry if name not in _NO_LOSSES))


def over_steps(log: Iterable[Mapping[str, Any]], name: str) -> tuple[list[int], list[float | int]]:
    """The steps whose entries have a value of this name, and the values."""
    entries = [entry for entry in log if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"
