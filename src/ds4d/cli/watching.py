"""A fit shown in browsers, if asked for."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from ds4d.cli.screen import Screen
from ds4d.pipeline import Event


@contextmanager
def watched(wanted: bool, screen: Screen) -> Generator[Callable[[Event], None], None, None]:
    """What a run's events are told to: a viewer that is open as long as the block, or nobody.

    Args:
        wanted: whether there is a viewer.
        screen: where its address is told.

    Raises:
        ValueError: no port is free.
        ImportError: the extra `viewer` is not installed.
    """
    if not wanted:
        yield lambda event: None
        return
    from ds4d.viewer import LiveViewer, Viewer

    viewer = Viewer()
    try:
        screen.say("\n".join(["to watch the fit:", *(f"  {line}" for line in viewer.address)]))
        yield LiveViewer(viewer).on_event
    finally:
        viewer.close()
