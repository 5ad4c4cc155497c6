"""Notices: given where the work is done, shown where someone listens."""

import logging

import pytest

from ds4d.core import Degraded, Notice, Warned, notices_to, notify

NOTICE = Degraded("lpips", "The weights were not found.")


def test_innermost_listener_gets_the_notice() -> None:
    outer: list[Notice] = []
    inner: list[Notice] = []
    with notices_to(outer.append):
        with pytest.raises(ZeroDivisionError), notices_to(inner.append):
            notify(NOTICE)
            raise ZeroDivisionError
        notify(Warned("input", "It is dark."))
    assert inner == [NOTICE]
    assert outer == [Warned("input", "It is dark.")]


def test_same_notice_is_given_every_time() -> None:
    heard: list[Notice] = []
    with notices_to(heard.append):
        notify(NOTICE)
        notify(NOTICE)
    assert heard == [NOTICE, NOTICE]


def test_without_a_listener_notices_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        notify(NOTICE)
    assert [(record.name, record.levelno) for record in caplog.records] == [("ds4d", logging.WARNING)] * 2
    assert "lpips" in caplog.text
