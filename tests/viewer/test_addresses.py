"""Free, used and forbidden ports, and the printed address."""

import getpass
import socket
from collections.abc import Iterator

import pytest

from ds4d.viewer import addresses
from ds4d.viewer.addresses import choose_port, describe_address


@pytest.fixture
def used_port() -> Iterator[int]:
    """A port that is listened on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_given_port_must_be_free(used_port: int) -> None:
    with pytest.raises(ValueError, match=f"--port {used_port} .*free"):
        choose_port("127.0.0.1", used_port)


def test_the_default_is_the_next_free_port(used_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "DEFAULT_PORT", used_port)
    chosen = choose_port("127.0.0.1", None)
    assert used_port < chosen < used_port + 100
    assert choose_port("127.0.0.1", chosen) == chosen


def test_no_free_port_is_an_error(used_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "DEFAULT_PORT", used_port)
    monkeypatch.setattr(addresses, "_MAX_TRIES", 1)
    with pytest.raises(ValueError, match="--port"):
        choose_port("127.0.0.1", None)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_numbers_out_of_range_are_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"--port .*got {port}"):
        choose_port("127.0.0.1", port)


def test_a_host_of_another_machine_is_refused() -> None:
    """203.0.113.1 is reserved for documentation."""
    with pytest.raises(ValueError, match="--host"):
        choose_port("203.0.113.1", None)


def test_the_address_comes_with_an_ssh_tunnel() -> None:
    here, tunnel = describe_address("127.0.0.1", 8081)
    assert here == "open http://127.0.0.1:8081"
    assert "ssh -L 8081:localhost:8081 " in tunnel
    assert describe_address("::1", 8080)[0] == "open http://[::1]:8080"
    (public,) = describe_address("0.0.0.0", 8080)
    assert "--host" in public and "0.0.0.0" not in public
    assert "localhost:8080:" not in describe_address("::1", 8080)[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "0x0", "::", "203.0.113.1"])
def test_every_spelling_of_the_network_is_reported(host: str) -> None:
    (line,) = describe_address(host, 8080)
    assert "reachable by every machine" in line and "--token" in line
    (line,) = describe_address(host, 8080, "secret")
    assert ":8080/?token=secret " in line and "--token" not in line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2", "127.1"])
def test_hosts_of_this_machine_are_not_reported(host: str) -> None:
    assert not any("reachable by every machine" in line for line in describe_address(host, 8080))


def test_no_host_is_refused() -> None:
    """Servers take an empty name for all interfaces."""
    with pytest.raises(ValueError, match="--host"):
        choose_port("", None)


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set")])
def test_a_user_without_a_name_gets_an_address(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers that run under any number."""

    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    assert "USER@" in describe_address("127.0.0.1", 8080)[1]
