"""Ctrl-C and SIGTERM: ending a command at once, or asking it to stop at its next step."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_SAME_SECONDS = 1.0  # signals so close are one: `timeout` and terminals may send it to a process and to its group


class Interrupts:
    """Inside the block Ctrl-C and SIGTERM raise: temporary files are removed and child processes end.

    What a signal's handler raises is lost where Python calls back from a destructor or from foreign code, so that the
    signal is remembered, too.

    Attributes:
        received: the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._time = 0.0
        self._is_settled = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in _NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background
                    self._before[number] = signal.signal(number, self._raise)
        self._print_unraisable = sys.unraisablehook
        sys.unraisablehook = self._report_unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.unraisablehook = self._print_unraisable
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises for a signal that was received, if what it raised was lost.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            SystemExit: it was SIGTERM.
        """
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise SystemExit(128 + self.received)

    def settle(self) -> None:
        """From now on one more signal changes nothing, as the result is being printed; another ends the process."""
        self._is_settled, self._time = True, 0.0

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._is_settled:
            if self._time:
                os._exit(128 + number)
            self._time = time.monotonic()
            return
        if self.received is not None and time.monotonic() - self._time < _SAME_SECONDS:
            return
        self.received, self._time = signal.Signals(number), time.monotonic()
        self.check()

    def _report_unraisable(self, unraisable: Any) -> None:
        if not (self.received is not None and issubclass(unraisable.exc_type, KeyboardInterrupt | SystemExit)):
            self._print_unraisable(unraisable)


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
            for number in _NUMBERS:
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
