"""Ctrl-C and SIGTERM: as an order that unwinds what is done, or as a wish, fulfilled where the work can be stopped."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, TracebackType


@contextmanager
def terminable() -> Generator[None, None, None]:
    """Inside the block SIGTERM unwinds as Ctrl-C does: nothing half-written stays, and processes of its own end."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
        yield
        return
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class StopSignals:
    """Notes the first Ctrl-C or SIGTERM inside its block; a second one acts at once, as usual.

    Args:
        say: told at once that the signal has been heard.

    Attributes:
        received: the signal, or None.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()
        self._say(f"\n{self.received.name}: stopping at the next step; once more stops at once")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # ty: ignore[invalid-argument-type]
        self._before.clear()
