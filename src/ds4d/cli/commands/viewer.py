"""`ds4d viewer`: shows a run in the browser."""

import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine, Flag, RunPath
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome
from ds4d.cli.signals import StopSignals
from ds4d.core import DeviceName, choose_device
from ds4d.viewer import Viewer, open_run
from ds4d.viewer.addresses import DEFAULT_HOST


@dataclass(frozen=True)
class ViewerArguments:
    """Shows a run in the browser, beside its input views. Ctrl-C ends the viewer.

    Attributes:
        run: folder of the run.
        host: network address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for the whole network.
        port: port to listen on; by default 8080 or the next free one.
        token: serve only those who know a random token, which is part of the printed address; use it with --host, or on
            a machine that others use, too.
        device: device that renders depth images; auto uses CUDA if it is available.
    """

    run: RunPath
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = DEFAULT_HOST
    port: int | None = None
    token: Flag = False
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "viewer",
    ViewerArguments,
    (
        ("viewer run", "show a run in the browser"),
        ("viewer run --host 0.0.0.0 --port 9000 --token", "let who knows the address connect from the network"),
    ),
)


def run(argv: Sequence[str], console: Console) -> None:
    """Runs the command: the result is printed when the page can be opened, and the command ends with Ctrl-C.

    Raises:
        SystemExit: SIGTERM was received.
    """
    arguments = COMMAND.parse(argv)
    opened = open_run(arguments.run, choose_device(arguments.device))
    token = secrets.token_urlsafe(16) if arguments.token else None
    viewer = Viewer(arguments.host, arguments.port, token=token)
    try:
        viewer.show(opened.scene, opened.views)
        text = "\n".join([*viewer.address, "press Ctrl-C to end the viewer"])
        with StopSignals(lambda line: None) as stop:  # once the result is printed, Ctrl-C is the usual end
            console.print_result(Outcome(text, {"host": viewer.host, "port": viewer.port, "token": token}))
            while stop.received is None:
                viewer.refresh()
                viewer.wait()
    finally:
        viewer.close()
    if stop.received is signal.SIGTERM:
        raise SystemExit(128 + stop.received)
