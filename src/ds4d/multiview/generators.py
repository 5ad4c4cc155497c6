"""The generators of views by name."""

from typing import Any

from ds4d.multiview.inflate import Inflate
from ds4d.multiview.zero123plus import Zero123Plus

# Each is made from its settings and the device to work on.
GENERATORS: dict[str, type[Any]] = {"inflate": Inflate, "zero123plus": Zero123Plus}
