"""The order in which a worker takes objects: its own bucket first, then those where others have left something."""

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from ds4d.batch.claims import Claim, Claims, bucket_of

# Buckets without work that a worker looks at before it waits: towards the end many workers look for the last objects.
_LOOKS = 8
_FAILURES = 2  # claims in a row that others had made before, after which the bucket is listed again


def divide(names: Iterable[str], buckets: int) -> dict[str, list[str]]:
    """The names of objects by the bucket that holds their records."""
    divided: dict[str, list[str]] = {}
    for name in names:
        divided.setdefault(bucket_of(name, buckets), []).append(name)
    return divided


class Queue:
    """The objects that one worker may take.

    Args:
        claims: the claims of the batch.
        buckets: names of all objects by bucket (`divide`); not changed.
        wanted: names of those that this worker takes; all if None.
        start: number of the bucket to begin with; workers that begin at different ones do not meet.
    """

    def __init__(
        self,
        claims: Claims,
        buckets: Mapping[str, Sequence[str]],
        wanted: Iterable[str] | None = None,
        *,
        start: int = 0,
    ) -> None:
        self._claims = claims
        self._buckets = buckets
        self._wanted = None if wanted is None else set(wanted)
        order = sorted(self._buckets)
        start %= max(1, len(order))
        self._left = deque(order[start:] + order[:start])  # buckets that are not known to be complete
        self._open: deque[str] = deque()
        self._random = random.Random(f"{claims.owner.id} {start}")

    @property
    def is_over(self) -> bool:
        """Whether every object has ended."""
        return not self._left and not self._open

    def take(self) -> Claim | None:
        """The next object; None if there is none at the moment: all have ended, or others are doing the rest."""
        looks, is_filtered, unsure = _LOOKS, False, list[str]()
        while True:
            failures = 0
            while self._open:
                if claim := self._claims.claim(self._open.popleft()):
                    return claim
                failures += 1
                if failures == _FAILURES:
                    self._open.clear()  # others have taken many of these: one listing tells which are left
            if not is_filtered:
                self._drop_complete()
                looks, is_filtered = min(looks, len(self._left)), True
            if looks <= 0:
                # Buckets of workers that may be dead are the first to be looked at again, until that is known.
                for bucket in reversed(unsure):
                    self._left.remove(bucket)
                    self._left.appendleft(bucket)
                return None
            unsure += self._look()
            looks -= not self._open

    def reopen_failed(self) -> int:
        """Gives the objects that were set aside all their attempts again; returns their number."""
        count = 0
        for bucket, names in self._buckets.items():
            ended = self._claims.survey(bucket, names).ended
            failed = [name for name in ended if self._claims.is_set_aside(name) and self._wants(name)]
            if failed:
                count += sum(self._claims.reopen(name) for name in failed)
                self._claims.unmark_complete(bucket, len(names))
        return count

    def _look(self) -> list[str]:
        """Surveys the next bucket, which stays the next while it holds open objects.

        Returns:
            The bucket, if it waits for workers that may be dead.
        """
        bucket = self._left[0]
        names = self._buckets[bucket]
        survey = self._claims.survey(bucket, names)
        if survey.is_over:
            self._claims.mark_complete(bucket, len(names))
        self._random.shuffle(survey.untried)  # workers in the same bucket rarely reach for the same object
        self._open.extend(name for name in survey.open if self._wants(name))
        if self._open:
            return []
        if any(self._wants(name) for name in survey.busy):
            self._left.rotate(-1)
            return [bucket] if survey.is_unsure else []
        self._drop(bucket)
        return []

    def _drop_complete(self) -> None:
        complete = self._claims.complete() if len(self._left) > 1 else set()
        for bucket in [each for each in self._left if f"{each}.{len(self._buckets[each])}" in complete]:
            self._drop(bucket)

    def _drop(self, bucket: str) -> None:
        self._left.remove(bucket)
        self._claims.forget(bucket)

    def _wants(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted
