"""The address of a viewer: a free port, and what to type to reach it."""

import errno
import getpass
import platform
import socket

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
_MAX_TRIES = 100  # ports, from the default one upwards
_ALL_INTERFACES = ("0.0.0.0", "::")


def choose_port(host: str, port: int | None) -> int:
    """A port that can be listened on.

    Args:
        host: name or address of one of this machine's network interfaces.
        port: port from 1 to 65535, which must be free; None takes 8080 or the next free one above it.

    Raises:
        ValueError: the port is in use, needs other rights or is out of range, or the host is not this machine.
    """
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"--port must be from 1 to 65535, got {port}.")
    for candidate in range(DEFAULT_PORT, DEFAULT_PORT + _MAX_TRIES) if port is None else (port,):
        if _is_free(host, candidate):
            return candidate
    if port is None:
        raise ValueError(
            f"one of the ports {DEFAULT_PORT} to {DEFAULT_PORT + _MAX_TRIES - 1} of {host} must be free, got none. "
            "Choose another with --port."
        )
    raise ValueError(
        f"--port {port} of {host} must be free, got one that another program listens on. End that program, choose "
        "another port, or drop --port to take the next free one."
    )


def describe_address(host: str, port: int) -> list[str]:
    """The address to open, and how to reach it from another machine, one line each."""
    if host in _ALL_INTERFACES:
        return [f"open http://{platform.node()}:{port} (reachable by every machine in the network; see --host)"]
    lines = [f"open http://{f'[{host}]' if ':' in host else host}:{port}"]
    if host in (DEFAULT_HOST, "localhost", "::1"):
        lines.append(
            f"from another machine: ssh -L {port}:localhost:{port} {getpass.getuser()}@{platform.node()}, "
            f"then open http://localhost:{port} there"
        )
    return lines


def _is_free(host: str, port: int) -> bool:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family):
            return True
    except PermissionError as error:
        raise ValueError(
            f"--port {port} must be one that you may use, got {error.strerror}. Choose one above 1023."
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise ValueError(
            f"--host must be an address of this machine, got {host!r} ({error.strerror}). Use 127.0.0.1 for access "
            "from this machine only, or 0.0.0.0 for access from the network."
        ) from error
