"""How far long work is: told by what does the work, heard by whoever listens, which may be nobody.

Like a warning, a progress needs no argument on its way: `tracked` stands where the work is, `listening` where the user
is. Work in another thread or process is not heard.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """So many steps of some work are done.

    Attributes:
        work: what is done, in a few words.
        done: steps so far; 0 as the work begins.
        total: steps of all the work.
    """

    work: str
    done: int
    total: int


Listener = Callable[[Progress], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None, None, None]:
    """Inside the block, `listener` hears of all progress, in place of one from outside."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tracked(items: Iterable[T], work: str, total: int | None = None) -> Iterator[T]:
    """The items as they are; each counts as done when the next one is asked for.

    Args:
        items: one per step.
        work: what is done with them, in a few words.
        total: how many there are, if they cannot be counted beforehand; should fewer come, all are done all the same.

    Raises:
        TypeError: the items have no length, and no total is given.
    """
    count = len(cast(Sized, items)) if total is None else total
    tell(Progress(work, 0, count))
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        tell(Progress(work, done, count))
    if done < count:
        tell(Progress(work, done, done))


def tell(progress: Progress) -> None:
    """Tells whoever listens."""
    if (listener := _LISTENER.get()) is not None:
        listener(progress)
