"""A fit shown in browsers, if asked for."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ds4d.pipeline import Event


@contextmanager
def watched(wanted: bool, quiet: bool) -> Generator[Callable[[Event], None], None, None]:
    """What a run's events are told to: a viewer that is open as long as the block, or nobody.

    Args:
        wanted: whether there is a viewer.
        quiet: whether its address is kept back.

    Raises:
        ValueError: no port is free.
        ImportError: the extra `viewer` is not installed.
    """
    if not wanted:
        yield lambda event: None
        return
    from ds4d.viewer import FitWatch, Viewer

    viewer = Viewer()
    try:
        if not quiet:
            print("\n".join(["to watch the fit:", *(f"  {line}" for line in viewer.address)]), file=sys.stderr)
        yield FitWatch(viewer).show
    finally:
        viewer.close()
