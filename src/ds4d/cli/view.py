"""`ds4d view`: a generated object in the browser."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from ds4d.cli.outcome import Outcome
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import DeviceName, choose_device
from ds4d.viewer import Viewer, open_run
from ds4d.viewer.addresses import DEFAULT_HOST


@dataclass(frozen=True)
class ViewArguments(ScreenOptions):
    """Shows a generated object in any browser: from all sides, at all times, beside its input. Ctrl-C ends it.

    Attributes:
        run: folder of the run.
        host: who may look: 127.0.0.1 for this machine alone, 0.0.0.0 for all that reach it.
        port: to listen on; 8080 or the next free one if not given.
        device: where depth is drawn; auto takes CUDA where it can be used.
    """

    run: tyro.conf.Positional[Path]
    host: str = DEFAULT_HOST
    port: int | None = None
    device: DeviceName = "auto"


def run(words: Sequence[str], screen: Screen) -> None:
    """The command: it answers as soon as the page can be opened, and is done when Ctrl-C ends it."""
    arguments = tyro.cli(ViewArguments, args=list(words), prog="ds4d view")
    opened = open_run(arguments.run, choose_device(arguments.device))
    viewer = Viewer(arguments.host, arguments.port)
    try:
        viewer.show(opened.scene, opened.views)
        text = "\n".join([*viewer.address, "Ctrl-C ends it"])
        screen.answer(Outcome(text, {"host": viewer.host, "port": viewer.port}))
        while True:
            viewer.refresh()
            viewer.wait()
    except KeyboardInterrupt:
        return
    finally:
        viewer.close()
