"""Progress: told where the work is, heard where someone listens."""

import threading

import pytest

from ds4d.core import Progress, progress_to, tracked


def test_each_item_counts_when_the_next_is_asked_for() -> None:
    heard: list[Progress] = []
    with progress_to(heard.append):
        items = tracked("ab", "spelling")
        assert heard == [], "nothing is done before it is begun"
        assert next(items) == "a" and [each.done for each in heard] == [0]
        assert next(items) == "b" and [each.done for each in heard] == [0, 1]
        assert list(items) == []
    assert heard == [Progress("spelling", done, 2) for done in range(3)]


def test_a_stream_says_how_long_it_will_be() -> None:
    heard: list[Progress] = []
    with progress_to(heard.append):
        assert list(tracked(iter("abc"), "spelling", 3)) == ["a", "b", "c"]
    assert [(each.done, each.total) for each in heard] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_stream_that_ends_early_is_done() -> None:
    heard: list[Progress] = []
    with progress_to(heard.append):
        assert list(tracked(iter("ab"), "spelling", 4)) == ["a", "b"]
    assert heard[-2:] == [Progress("spelling", 2, 4), Progress("spelling", 2, 2)]


def test_what_cannot_be_counted_needs_a_total() -> None:
    with pytest.raises(TypeError, match="len"):
        next(tracked(iter("ab"), "spelling"))


def test_without_a_listener_the_items_are_all_there_is() -> None:
    assert list(tracked([1, 2], "counting")) == [1, 2]


def test_the_innermost_listener_hears_and_is_forgotten_after_its_block() -> None:
    outer: list[Progress] = []
    inner: list[Progress] = []
    with progress_to(outer.append):
        with pytest.raises(ZeroDivisionError), progress_to(inner.append):
            for item in tracked([1, 0], "dividing"):
                1 / item
        list(tracked([1], "counting"))
    list(tracked([1], "alone"))
    assert [each.work for each in inner] == ["dividing"] * 2
    assert [each.work for each in outer] == ["counting"] * 2


def test_other_threads_are_not_heard() -> None:
    heard: list[Progress] = []
    with progress_to(heard.append):
        thread = threading.Thread(target=lambda: list(tracked([1], "elsewhere")))
        thread.start()
        thread.join()
    assert heard == []
