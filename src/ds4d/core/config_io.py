"""Configurations as plain data: to json and back, refusing what nothing reads."""

import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A (nested) dataclass as what json can hold; `from_dict` makes the same dataclass of it."""
    return _plain(asdict(config))


def from_dict(cls: type[T], data: Any) -> T:
    """A (nested) frozen dataclass from the dictionary that `to_dict` made of it, through json or not.

    Keys that are left out keep their defaults.

    Raises:
        ValueError: no dictionary, a key that the class does not have, a key without a default that is left out, or a
            value of another kind than the class asks for.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{cls.__name__} must be an object with keys, got {data!r}. Make the file again.")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # ty: ignore[invalid-argument-type]
    unknown = set(data) - known
    if unknown:
        raise ValueError(
            f"{cls.__name__} must only hold the keys {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}. "
            "Remove them, or use the ds4d that wrote the file."
        )
    missing = [
        f.name
        for f in fields(cls)  # ty: ignore[invalid-argument-type]
        if f.name not in data and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{cls.__name__} must hold the keys {', '.join(missing)}, got none. Make the file again.")
    return cls(**{name: _value(hints[name], value, f"{cls.__name__}.{name}") for name, value in data.items()})


def check_ranges(config: Any, **intervals: str) -> None:
    """Refuses numbers of a settings dataclass that lie outside their intervals; for its `__post_init__`.

    Args:
        config: the settings.
        intervals: by the names of the numbers, as mathematics writes them: "(0, 1]" holds 1 but not 0.

    Raises:
        ValueError: a number is NaN or lies outside; the message names it.
    """
    for name, interval in intervals.items():
        value = getattr(config, name)
        least, most = map(float, interval[1:-1].split(","))
        above = value > least if interval[0] == "(" else value >= least
        below = value < most if interval[-1] == ")" else value <= most
        if not (above and below):
            raise ValueError(f"{type(config).__name__}: {name} must lie in {interval}, got {value}.")


def check_choices(config: Any, **registries: Collection[str]) -> None:
    """Refuses names of a settings dataclass that are no key of their registries; for its `__post_init__`.

    Args:
        config: the settings.
        registries: the names that are allowed (a registry's keys), by the names of the settings.

    Raises:
        ValueError: a name is unknown; the message lists those that are allowed.
    """
    for name, registry in registries.items():
        value = getattr(config, name)
        if value not in registry:
            raise ValueError(f"{name} must be one of {', '.join(registry)}, got {value!r}.")


def first_difference(ours: Any, theirs: Any, where: str = "") -> str | None:
    """The dotted name of the first key at which two nested dictionaries differ; None if they are equal."""
    if not (isinstance(ours, Mapping) and isinstance(theirs, Mapping)):
        return None if ours == theirs else where
    for key in dict.fromkeys((*ours, *theirs)):
        name = f"{where}.{key}" if where else str(key)
        if (key in ours) != (key in theirs):
            return name
        if found := first_difference(ours[key], theirs[key], name):
            return found
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(hint: Any, value: Any, where: str) -> Any:
    options = [hint]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        options = list(typing.get_args(hint))
    for option in options:
        fits, made = _as(option, value, where)
        if fits:
            return made
    raise ValueError(f"{where} must be {' or '.join(map(_kind, options))}, got {value!r}. Correct it.")


def _kind(option: Any) -> str:
    if typing.get_origin(option) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(option)))}"
    return getattr(option, "__name__", str(option))


def _as(option: Any, value: Any, where: str) -> tuple[bool, Any]:
    """Whether a value from json fits one type, and the value in that type."""
    if is_dataclass(option):
        fits = isinstance(value, Mapping)
        return fits, from_dict(option, value) if fits else None
    if typing.get_origin(option) is typing.Literal:
        return value in typing.get_args(option), value
    if typing.get_origin(option) is tuple:
        fits = isinstance(value, list | tuple)
        return fits, tuple(_value(typing.get_args(option)[0], item, where) for item in value) if fits else None
    if typing.get_origin(option) is dict:
        kind, fits = typing.get_args(option)[1], isinstance(value, Mapping)
        return fits, {key: _value(kind, item, f"{where}.{key}") for key, item in value.items()} if fits else None
    if option is Any:
        return True, value
    if option is Path:
        return isinstance(value, str), Path(value) if isinstance(value, str) else None
    if option is float:  # json writes 1.0 and 1 alike
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return fits, float(value) if fits else None
    if option is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, option), value
