"""The address of a viewer: a free port, and what to type to reach it."""

import errno
import getpass
import ipaddress
import platform
import socket

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
_MAX_TRIES = 100  # ports, from the default one upwards


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


def describe_address(host: str, port: int, token: str | None = None) -> list[str]:
    """The address to open, and how to reach it from another machine, one line each.

    Args:
        host: name or address that the viewer listens on.
        port: its port.
        token: secret that the address must contain, if any.
    """
    query = f"/?token={token}" if token else ""
    if not is_local(host):
        protection = "with this token" if token else "without a password; --token asks for one"
        shown = platform.node() if _is_unspecified(host) else host
        return [
            f"open http://{_bracketed(shown)}:{port}{query} "
            f"(reachable by every machine in the network, {protection}; see --host)"
        ]
    there = "localhost" if host == DEFAULT_HOST else _bracketed(host)
    return [
        f"open http://{_bracketed(host)}:{port}{query}",
        f"from another machine: ssh -L {port}:{there}:{port} {_user()}@{platform.node()}, "
        f"then open http://localhost:{port}{query} there",
    ]


def is_local(host: str) -> bool:
    """Whether a host accepts connections from this machine only; False as well for one that cannot be resolved."""
    addresses = _resolve(host)
    return bool(addresses) and all(address.is_loopback for address in addresses)


def _is_unspecified(host: str) -> bool:
    """Whether a host means all network interfaces, however it is written: 0.0.0.0, ::, 0 or 0x0."""
    return any(address.is_unspecified for address in _resolve(host))


def _resolve(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    if not host:  # servers take it for all interfaces
        return [ipaddress.IPv4Address(0)]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an unknown user number, as in containers
        return "USER"


def _is_free(host: str, port: int) -> bool:
    if not host:
        raise ValueError("--host must be an address of this machine, got none. Use 127.0.0.1, or 0.0.0.0 for all.")
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
