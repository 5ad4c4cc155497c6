"""Ctrl-C and SIGTERM: ending a command at once, or asking it to stop at its next step."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, TracebackType


@contextmanager
def terminable() -> Generator[None, None, None]:
    """Inside the block SIGTERM raises, as Ctrl-C does: temporary files are removed and child processes end."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class StopSignals:
    """Records the first Ctrl-C or SIGTERM inside its block; a second one acts at once, as usual.

    Args:
        print_line: called with a message when the first signal arrives.

    Attributes:
        received: the first signal, or None.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()
        self._print(f"\n{self.received.name}: stopping after this step; send it again to stop at once")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # ty: ignore[invalid-argument-type]
        self._before.clear()
