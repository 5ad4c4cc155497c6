"""Ports that are free, taken and out of reach, and what a user is told to type."""

import socket
from collections.abc import Iterator

import pytest

from ds4d.viewer import addresses
from ds4d.viewer.addresses import choose_port, describe_address


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that someone listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_asked_for_must_be_free(taken: int) -> None:
    with pytest.raises(ValueError, match=f"--port {taken} of 127.0.0.1 must be free.*leave --port out"):
        choose_port("127.0.0.1", taken)


def test_without_a_wish_the_next_free_port_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "DEFAULT_PORT", taken)
    chosen = choose_port("127.0.0.1", None)
    assert taken < chosen < taken + 100
    assert choose_port("127.0.0.1", chosen) == chosen


def test_no_free_port_is_said(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "DEFAULT_PORT", taken)
    monkeypatch.setattr(addresses, "_TRIED", 1)
    with pytest.raises(ValueError, match=f"ports {taken} to {taken} .* got none. Name another by --port"):
        choose_port("127.0.0.1", None)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"--port must be from 1 to 65535, got {port}"):
        choose_port("127.0.0.1", port)


def test_a_host_elsewhere_is_refused() -> None:
    """203.0.113.1 is set aside for documentation: no machine has it."""
    with pytest.raises(ValueError, match=r"--host must be an address of this machine, got '203.0.113.1'"):
        choose_port("203.0.113.1", None)


def test_the_address_comes_with_the_way_there() -> None:
    here, tunnel = describe_address("127.0.0.1", 8081)
    assert here == "open http://127.0.0.1:8081"
    assert "ssh -L 8081:localhost:8081 " in tunnel
    assert describe_address("::1", 8080)[0] == "open http://[::1]:8080"
    (everyone,) = describe_address("0.0.0.0", 8080)
    assert "anyone" in everyone and "0.0.0.0" not in everyone
