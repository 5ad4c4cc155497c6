"""What commands ask of the options that they were given."""

from collections.abc import Iterable
from typing import Any


def option(name: str) -> str:
    """How an option is written on the command line."""
    return f"--{name.replace('_', '-')}"


def refuse_set(arguments: Any, names: Iterable[str], reader: str) -> None:
    """Refuses options that nothing would read.

    Args:
        arguments: the words of a command, as a dataclass.
        names: of its options that must be as they are by default.
        reader: what they must not stand beside.

    Raises:
        ValueError: one of them is set.
    """
    for name in names:
        if getattr(arguments, name) != getattr(type(arguments), name):
            raise ValueError(
                f"{option(name)} must not be given with {reader}, got {getattr(arguments, name)}. Leave it out."
            )


def check_times(name: str, times: Iterable[float]) -> None:
    """Refuses times beyond the clip.

    Raises:
        ValueError: one lies outside [0, 1], or is no number.
    """
    beyond = [f"{time:g}" for time in times if not 0 <= time <= 1]
    if beyond:
        raise ValueError(
            f"{option(name)} must lie in [0, 1], from the first frame to the last, got {', '.join(beyond)}. "
            "Divide seconds by the clip's duration."
        )
