"""Options that were found valid, remembered with the batch: the workers that join need not check them again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property

from ds4d import __version__
from ds4d.batch.manifest import OptionChecks
from ds4d.batch.stores import Store
from ds4d.io import parse_json

_KEY = f"checked-{__version__}.json"  # other versions may have other options


class CheckedOptions:
    """The checks of a batch's options, each made once for all workers with this version of ds4d.

    Args:
        store: the records of the batch, which need not exist yet.
        make: makes the checks; called when the store does not tell enough, because it takes a second.
    """

    def __init__(self, store: Store, make: Callable[[], OptionChecks]) -> None:
        self._store, self._make = store, make
        self._valid, self._is_new = set[str](), False
        self._known = frozenset[str]()
        try:
            found = parse_json(store.read(_KEY) or b"")
            self._known, self._valid = frozenset(map(str, found["known"])), set(map(str, found["valid"]))
        except (ValueError, TypeError, LookupError):  # none, or a damaged one: all are checked
            pass

    @cached_property
    def checks(self) -> OptionChecks:
        """The checks, as `read_items` takes them."""
        return OptionChecks(self._known or self._make().known, self._check)

    def save(self) -> None:
        """Remembers what was found valid, if that is more than was known."""
        if self._is_new:
            self._store.replace(
                _KEY, json.dumps({"known": sorted(self.checks.known), "valid": sorted(self._valid)}).encode()
            )

    def _check(self, options: Sequence[str]) -> None:
        digest = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]
        if digest not in self._valid:
            self._make().check(options)
            if "--config" not in options:  # a file, which may change or be missing on another machine
                self._valid.add(digest)
                self._is_new = True
