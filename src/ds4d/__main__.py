"""The program `ds4d`, which `python -m ds4d` is, too.

Nothing is imported here that takes time, so that Ctrl-C and SIGTERM end the program with a sentence from the start on.
"""

import gc
import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs the command line; returns the exit code of the process."""
    try:
        signal.signal(signal.SIGTERM, _exit)
        gc.disable()  # until the command is imported: a quarter of that time goes into looking for garbage in modules
        from ds4d.cli import main as run

        code = run()
    except KeyboardInterrupt:  # before the command line has taken over
        code = _ended(signal.SIGINT, "interrupted by Ctrl-C")
    except SystemExit as leaving:
        if leaving.code != 128 + signal.SIGTERM:
            raise
        code = _ended(signal.SIGTERM, "terminated by SIGTERM")
    # All is done and said: another signal ends the process at once, where Python would print what it interrupts.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: os._exit(code))
    return code


def _ended(number: signal.Signals, sentence: str) -> int:
    sys.stderr.write(f"ds4d: error: {sentence}\n")
    return 128 + number


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
