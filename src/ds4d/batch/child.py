"""`python -m ds4d.batch.child ...` is `ds4d ...` in a process that ends with the one that started it.

However that ended: its end of the pipe to this process's standard input closes, and nobody would read the result.
"""

import os
import runpy
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv[0] = "ds4d"
    runpy.run_module("ds4d", run_name="__main__", alter_sys=True)
