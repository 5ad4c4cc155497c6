"""A finished run that tests may change, and its page read by other means than the writer's."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ds4d.runs import RunFolder
from ds4d.runs.report import write_report

_VOID = {"meta", "img", "br", "link"}


@dataclass
class Page(HTMLParser):
    """A page as a browser takes it apart.

    Attributes:
        text: of every section, by its title; the head under "".
        tags: names of the elements with their attributes, in order.
    """

    source: str
    text: dict[str, str] = field(default_factory=lambda: {"": ""})
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["h2"]:
            self.text[data] = ""
        elif self._open[-1:] != ["style"]:
            self.text[list(self.text)[-1]] += f"{data} "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements with this name."""
        return [attributes for name, attributes in self.tags if name == tag]


def contents_of(uri: str) -> bytes:
    """The file that a data URI holds."""
    head, _, body = uri.partition(",")
    assert head.startswith("data:") and head.endswith(";base64")
    return base64.b64decode(body, validate=True)


@pytest.fixture
def decode() -> Callable[[str], bytes]:
    """Reads data URIs."""
    return contents_of


@pytest.fixture
def change_metrics(run: Path) -> Callable[..., None]:
    """Changes metrics of that run."""

    def change(**metrics: Any) -> None:
        path = run / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | metrics))

    return change


@pytest.fixture
def read_page() -> Callable[[Path], Page]:
    """Writes the page of a run anew and reads it."""
    return lambda run: Page(write_report(RunFolder(run)).read_text(encoding="utf-8"))
