"""Settings as plain data: to JSON and back, and changes by dotted names. What no setting reads is refused."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path", dict: "a table"}


def to_dict(config: Any) -> dict[str, Any]:
    """A (nested) dataclass as what JSON can hold; `from_dict` makes the same dataclass of it."""
    return _plain(asdict(config))


def from_dict(cls: type[T], data: Any, *, where: str = "") -> T:
    """A (nested) frozen dataclass from the dictionary that `to_dict` made of it, through JSON or not.

    Args:
        cls: the dataclass.
        data: values by key; keys that are left out keep their defaults.
        where: dotted name of the dataclass in its surroundings, for messages.

    Raises:
        ValueError: no dictionary, an unknown key, a key without a default that is left out, or a value of another kind
            than the key's; the message names the key.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where or 'the content'} must be an object with keys, got {data!r}.")
    known = {f.name for f in fields(cls)}  # ty: ignore[invalid-argument-type]
    if unknown := sorted(map(str, set(data) - known)):
        raise ValueError(
            f"{where or 'the content'} must only hold the keys {', '.join(sorted(known))}, got {', '.join(unknown)}."
        )
    missing = [
        f.name
        for f in fields(cls)  # ty: ignore[invalid-argument-type]
        if f.name not in data and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{where or 'the content'} must hold the keys {', '.join(missing)}, got none.")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _value(hints[name], value, _dotted(where, name)) for name, value in data.items()})


def with_overrides(config: T, overrides: Mapping[str, Any]) -> T:
    """Settings with some of them changed.

    Args:
        config: the settings, a (nested) dataclass.
        overrides: new values by dotted name, such as {"training.dynamic_steps": 2000}; nested mappings, {"training":
            {"dynamic_steps": 2000}}, mean the same. A part that may be None is switched off by None.

    Raises:
        ValueError: there is no such setting, or its value is not of its kind or range; the message names the setting,
            and similar names.
    """
    nested: dict[str, Any] = {}
    for name, value in overrides.items():
        *outer, last = name.split(".")
        inner = nested
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(f"overrides must name each setting once, got {part} and {name}.")
        inner[last] = {**inner.get(last, {}), **value} if isinstance(value, Mapping) else value
    return _changed(config, nested, config, "")


def _changed(config: T, changes: Mapping[str, Any], root: Any, where: str) -> T:
    """A dataclass with all its changes at once, as some of them may only be valid together."""
    hints, values = typing.get_type_hints(type(config)), {}
    known = {f.name for f in fields(config)}  # ty: ignore[invalid-argument-type]
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        full, value = _dotted(where, name), {rest: value} if rest else value
        if name not in known:
            raise ValueError(f"overrides must name settings, got {full!r}.{_similar(full, root)}")
        current = getattr(config, name)
        if isinstance(value, Mapping) and is_dataclass(current):
            values[name] = _changed(current, value, root, full)
        elif is_dataclass(value):
            values[name] = value
        else:
            values[name] = _value(hints[name], str(value) if isinstance(value, Path) else value, full)
    try:
        return dataclasses.replace(config, **values)  # ty: ignore[invalid-argument-type]
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from error


def _similar(name: str, root: Any) -> str:
    """The names of settings like this one, as a hint."""
    names = list(_setting_names(root))
    near = difflib.get_close_matches(name, names, n=3)
    by_last = {other.rpartition(".")[2]: other for other in reversed(names)}
    near += [by_last[last] for last in difflib.get_close_matches(name.rpartition(".")[2], by_last, n=3)]
    return f" Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def _setting_names(config: Any, where: str = "") -> Iterator[str]:
    for f in fields(config):
        yield _dotted(where, f.name)
        if is_dataclass(value := getattr(config, f.name)):
            yield from _setting_names(value, _dotted(where, f.name))


def check_ranges(config: Any, **intervals: str) -> None:
    """Refuses numbers of a dataclass of settings that lie outside their intervals; for its `__post_init__`.

    Args:
        config: the settings.
        intervals: intervals by the names of the numbers, in mathematical notation: "(0, 1]" holds 1 but not 0.

    Raises:
        ValueError: a number is NaN or lies outside; the message names it.
    """
    for name, interval in intervals.items():
        value = getattr(config, name)
        low, high = map(float, interval[1:-1].split(","))
        above = value > low if interval[0] == "(" else value >= low
        below = value < high if interval[-1] == ")" else value <= high
        if not (above and below):
            lower = f"{'above' if interval[0] == '(' else 'at least'} {low:g}"
            raise ValueError(f"{name} must be {lower if high == math.inf else f'in {interval}'}, got {value}.")


def check_choices(config: Any, **registries: Collection[str]) -> None:
    """Refuses names in a dataclass of settings that are no key of their registries; for its `__post_init__`.

    Args:
        config: the settings.
        registries: allowed names (the keys of a registry) by the name of the setting.

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
        name = _dotted(where, str(key))
        if (key in ours) != (key in theirs):
            return name
        if found := first_difference(ours[key], theirs[key], name):
            return found
    return None


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


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
    raise ValueError(f"{where} must be {' or '.join(map(_kind, options))}, got {value!r}.")


def _kind(option: Any) -> str:
    if option is type(None):
        return "none"
    if is_dataclass(option):
        return "an object with keys"
    if typing.get_origin(option) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(option)))}"
    if typing.get_origin(option) is tuple:
        return "a list"
    return _KINDS.get(typing.get_origin(option) or option, str(option))


def _as(option: Any, value: Any, where: str) -> tuple[bool, Any]:
    """Whether a value from JSON fits one type, and the value in that type."""
    if is_dataclass(option):
        fits = isinstance(value, Mapping)
        return fits, from_dict(typing.cast(type, option), value, where=where) if fits else None
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
    if option is float:  # JSON writes 1.0 and 1 alike
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return fits, float(value) if fits else None
    if option is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, option), value
