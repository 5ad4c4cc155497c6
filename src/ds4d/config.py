"""Configurations as plain data: to json and back, refusing what nothing reads."""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def from_dict(cls: type[T], data: dict[str, Any]) -> T:
    """A (nested) frozen dataclass from the dictionary that `dataclasses.asdict` made of it, through json or not.

    Raises:
        ValueError: a key that the class does not have.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # ty: ignore[invalid-argument-type]
    unknown = set(data) - known
    if unknown:
        raise ValueError(
            f"{cls.__name__} must only hold the keys {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}. "
            "Remove them, or use the ds4d that wrote the file."
        )
    return cls(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    options = [hint]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
    for option in options:
        if is_dataclass(option) and isinstance(value, dict):
            return from_dict(option, value)  # ty: ignore[invalid-argument-type]
        if typing.get_origin(option) is tuple:
            return tuple(value)
    return value
