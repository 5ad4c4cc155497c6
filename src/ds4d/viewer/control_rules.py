"""Which values browsers may give to the controls of the panel."""

import math
from collections.abc import Callable, Collection
from typing import Any

Rule = Callable[[Any], bool]


class ControlRules:
    """The controls that browsers may change, and to what."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}

    def add(self, handle: Any, rule: Rule) -> None:
        """Lets browsers change the value of a control.

        Args:
            handle: viser's handle of the control.
            rule: whether a value may be given to it.
        """
        self._rules[handle._impl.uuid] = rule  # viser shows it nowhere else

    def remove(self, handle: Any) -> None:
        """Forgets a control that is gone."""
        self._rules.pop(handle._impl.uuid, None)

    def rule_of(self, number: str) -> Rule | None:
        """The rule of the control with viser's identifier; None if browsers may not change it, or it is gone."""
        return self._rules.get(number)


def number_in(low: float, high: float) -> Rule:
    """Accepts finite numbers from `low` to `high`."""
    return lambda value: _is_number(value) and math.isfinite(value) and low <= value <= high


def one_of(options: Collection[str]) -> Rule:
    """Accepts some texts."""
    return lambda value: isinstance(value, str) and value in options


def is_flag(value: Any) -> bool:
    """Accepts True and False."""
    return isinstance(value, bool)


def is_color(value: Any) -> bool:
    """Accepts three integers from 0 to 255."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(part, int) and _is_number(part) and 0 <= part <= 255 for part in value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
