"""The report in a real browser without a network: complete, no console messages, as narrow as a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ds4d.runs import RunFolder
from ds4d.runs.report import write_report

PATIENCE = 30_000  # milliseconds until something that does not happen is a failure
H264 = 'video/mp4; codecs="avc1.64001f"'  # not every Chromium brings it along


@pytest.fixture
def open_report(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page without a network at a width; its `said` and `asked` are kept beside it."""
    contexts = []

    def open_at(path: Path, width: int, height: int = 700) -> tuple[Any, list[str], list[str]]:
        context = chromium.new_context(offline=True, viewport={"width": width, "height": height})
        contexts.append(context)
        page, said, asked = context.new_page(), [], []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page, said, asked

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [375, 1200])
def test_page_is_complete_and_fits(open_report: Callable, finished_run: Path, width: int) -> None:
    page, said, asked = open_report(finished_run / "report.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("summary").click()  # with all settings open, too
    assert page.locator("details table").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].length") == 4
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    decoded = """Promise.all([...document.querySelectorAll('video')].map(async video => {
        const still = Object.assign(new Image(), { src: video.poster });
        await still.decode();
        return still.naturalWidth;
    }))"""
    assert page.evaluate(decoded) == [
        76,
        32,
        32,
        32,
        32,
        32,
        32,
    ]  # the first is the comparison, two images and the gaps around them
    assert said == []
    assert [address[:5] for address in asked if not address.startswith("data:")] == ["file:"]


def test_videos_play(open_report: Callable, finished_run: Path) -> None:
    page, said, _ = open_report(finished_run / "report.html", 375)
    if not page.evaluate(f"document.createElement('video').canPlayType('{H264}')"):
        pytest.skip("needs a Chromium that plays H.264")
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(video => video.videoWidth > 0)")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    assert said == []


def test_screenshot(open_report: Callable, pictured_run: Path, tmp_path: Path, keep_screenshot: Callable) -> None:
    path = write_report(RunFolder(pictured_run), tmp_path / "report.html")
    page, _, _ = open_report(path, 1000, 1080)
    begun = "video => video.currentTime > 0 || video.error"  # not every Chromium plays them
    seen = "video => video.getBoundingClientRect().bottom < innerHeight"  # others need not play
    page.wait_for_function(f"() => [...document.querySelectorAll('video')].filter({seen}).every({begun})")
    page.evaluate("document.querySelectorAll('video').forEach(video => { video.controls = false; })")  # they fade
    keep_screenshot("report", page.screenshot())
