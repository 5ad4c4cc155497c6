"""Progress of long work, reported where the work is done and shown by whoever listens, which may be nobody.

Like a warning, a progress report needs no argument on its way: `tracked` is used where the work is done, `progress_to`
where it is shown. Work in other threads or processes is not reported.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far some work is.

    Attributes:
        work: what is being done, in a few words.
        done: number of steps done; 0 when the work begins.
        total: number of all steps.
    """

    work: str
    done: int
    total: int


_Listener = Callable[[Progress], None]

_LISTENER: ContextVar[_Listener | None] = ContextVar("progress_listener", default=None)


@contextmanager
def progress_to(listener: _Listener) -> Generator[None, None, None]:
    """Inside the block, `listener` gets all progress, instead of a listener from outside."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tracked(items: Iterable[T], work: str, total: int | None = None) -> Iterator[T]:
    """Yields the items unchanged, and reports each one as done when the next is asked for.

    Args:
        items: one item per step.
        work: what is being done with them, in a few words.
        total: number of items, where `items` has no length; fewer items than that complete the work, too.

    Raises:
        TypeError: the items have no length, and no total is given.
    """
    count = len(cast(Sized, items)) if total is None else total
    report_progress(Progress(work, 0, count))
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        report_progress(Progress(work, done, count))
    if done < count:
        report_progress(Progress(work, done, done))


def report_progress(progress: Progress) -> None:
    """Passes progress on to the listener, if there is one."""
    if (listener := _LISTENER.get()) is not None:
        listener(progress)
