"""Notices to the user: a part of the work is weaker than asked for, or the result may suffer.

Like progress, a notice needs no argument on its way: `notify` is called where the work is done, `notices_to` where
notices are shown or recorded. Without a listener they are logged as warnings of the logger `ds4d`. Unlike Python's
warnings, which are left to misuse of functions, the same notice is given every time.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Degraded:
    """A part of the work was replaced by something weaker, or left out.

    Attributes:
        part: the part, such as views, features, lpips, guidance or outputs.
        message: what happened, why, and how to get the part, in sentences.
    """

    part: str
    message: str


@dataclass(frozen=True)
class Warned:
    """The work is done as asked for, but its result may be worse than expected.

    Attributes:
        part: the part, such as input or init.
        message: what was found and how to fix it, in sentences.
    """

    part: str
    message: str


Notice = Degraded | Warned
_Listener = Callable[[Notice], None]

_LISTENER: ContextVar[_Listener | None] = ContextVar("notice_listener", default=None)
_LOGGER = logging.getLogger("ds4d")


@contextmanager
def notices_to(listener: _Listener) -> Generator[None, None, None]:
    """Inside the block, `listener` gets all notices, instead of a listener from outside."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def notify(notice: Notice) -> None:
    """Passes a notice on to the listener; logs it if there is none."""
    if (listener := _LISTENER.get()) is not None:
        listener(notice)
    else:
        _LOGGER.warning("%s: %s", notice.part, notice.message)
