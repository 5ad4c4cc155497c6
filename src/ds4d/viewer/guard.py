"""Checks of everything that reaches a viser server: who asks, and what browsers send.

Viser has no settings for this. Its server is one of `websockets`, whose own parameters are used: `process_request`,
`create_connection`, `max_size` and `logger`.
"""

import asyncio
import http
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ds4d.viewer.access import AccessRules
from ds4d.viewer.control_rules import ControlRules
from ds4d.viewer.messages import MAX_BYTES, FaultyMessageError, check_message

_MAX_BROWSERS = 32
_SECONDS_PER_MESSAGE = 0.01  # in the long run; a page sends some ten in a second
_BURST_SECONDS = 1.0
_POLICY_VIOLATION, _INTERNAL_ERROR = 1008, 1011  # close codes of websockets

_PATCHING = threading.Lock()


class Guard:
    """The checks of one server.

    Args:
        access: who may use the viewer.
        controls: controls that browsers may change.
        version: version of viser, which that of a page must be.
    """

    def __init__(self, access: AccessRules, controls: ControlRules, version: str) -> None:
        self._version = version
        self._access = access
        self._controls = controls
        self._browsers: set[ServerConnection] = set()
        self._is_installed = False
        # Whoever sends garbage must not fill the terminal with tracebacks.
        self._logger = logging.Logger("ds4d.viewer")
        self._logger.addHandler(logging.NullHandler())

    @contextmanager
    def installed(self) -> Generator[None, None, None]:
        """The viser server that is made inside the block is checked.

        Raises:
            RuntimeError: viser has not made its server in the way that is known, so that nothing would be checked.
        """
        with _PATCHING:
            module = websockets.asyncio.server
            original = module.serve
            module.serve = self._serve_with(original)  # ty: ignore[invalid-assignment]
            try:
                yield
            finally:
                module.serve = original
        if not self._is_installed:
            raise RuntimeError(f"viser {self._version} starts its server in another way than ds4d can check")

    def drop(self, server: Any, number: int) -> None:
        """Closes the connection of one browser.

        Args:
            server: viser's server.
            number: viser's number of the browser.
        """
        infra = server._websock_server
        connection = infra._live_connections.get(number)
        if connection is not None:
            asyncio.run_coroutine_threadsafe(connection.close(_INTERNAL_ERROR), infra._background_event_loop)

    def _serve_with(self, original: Any) -> Callable[..., Any]:
        def serve(handler: Callable[[ServerConnection], Awaitable[None]], *arguments: Any, **options: Any) -> Any:
            self._is_installed = True
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: self._logger.debug("%s", context.get("message"))
            )

            async def handle(connection: ServerConnection) -> None:
                self._browsers.add(connection)
                try:
                    await handler(connection)
                finally:
                    self._browsers.discard(connection)

            answer = options["process_request"]
            options |= {
                "process_request": lambda connection, request: self._answer(connection, request, answer),
                "create_connection": self._connection_class(),
                "max_size": MAX_BYTES,
                "logger": self._logger,
            }
            return original(handle, *arguments, **options)

        return serve

    def _answer(self, connection: ServerConnection, request: Request, answer: Callable[..., Any]) -> Response | None:
        headers = request.headers
        reason = self._access.refusal(
            request.path,
            hosts=headers.get_all("Host"),
            origins=headers.get_all("Origin"),
            cookies=headers.get_all("Cookie"),
        )
        if reason is not None:
            return _refuse(http.HTTPStatus.FORBIDDEN, reason)
        if headers.get_all("Upgrade") and (
            len(self._browsers) >= _MAX_BROWSERS or not self._is_of_same_version(headers)
        ):
            return _refuse(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                f"The viewer serves pages of viser {self._version} and at most {_MAX_BROWSERS} at once.",
            )
        response = answer(connection, request)
        if response is not None and self._access.has_token(request.path):
            response.headers["Set-Cookie"] = self._access.cookie
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _is_of_same_version(self, headers: Headers) -> bool:
        """Whether a page is of the installed viser; viser prints a line about others."""
        offered = [name.strip() for line in headers.get_all("Sec-WebSocket-Protocol") for name in line.split(",")]
        return next((name for name in offered if name.startswith("viser-v")), None) == f"viser-v{self._version}"

    def _connection_class(self) -> type[ServerConnection]:
        controls = self._controls

        class CheckedConnection(ServerConnection):
            """A connection that passes on nothing but what `check_message` accepts."""

            paid_until = 0.0
            is_refused = False

            async def recv(self, decode: bool | None = None) -> Any:
                while True:
                    raw = await super().recv(decode)
                    await self._slow_down()
                    try:
                        message = None if self.is_refused else check_message(raw, controls)
                    except FaultyMessageError as error:
                        self.is_refused = True
                        await self.close(_POLICY_VIOLATION, str(error)[:100].encode("ascii", "replace").decode())
                        continue
                    if message is not None:
                        return message

            async def _slow_down(self) -> None:
                """Lets a browser that sends without end wait, so that it cannot take the time of a fit."""
                now = time.monotonic()
                self.paid_until = max(self.paid_until, now - _BURST_SECONDS) + _SECONDS_PER_MESSAGE
                if self.paid_until > now:
                    await asyncio.sleep(self.paid_until - now)

        return CheckedConnection


def _refuse(status: http.HTTPStatus, reason: str) -> Response:
    body = f"{reason}\n".encode()
    headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
    return Response(status.value, status.phrase, headers, body)
