"""A viewer of a finished run in this process, and real browsers that look at it."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.viewer import OpenedRun, Viewer, open_run

PATIENCE = 60.0  # seconds until something that does not happen is a failure


@pytest.fixture(scope="session")
def opened(finished_run: Path) -> OpenedRun:
    """The run as `ds4d viewer` opens it."""
    return open_run(finished_run, torch.device("cpu"))


@contextmanager
def _at_work(opened: OpenedRun) -> Generator[Viewer, None, None]:
    viewer = Viewer()
    viewer.show(opened.scene, opened.views)
    ended = threading.Event()

    def drive() -> None:
        while not ended.is_set():
            viewer.refresh()
            viewer.wait()

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()
    yield viewer
    ended.set()
    thread.join(PATIENCE)
    viewer.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve() -> Callable[[OpenedRun], AbstractContextManager[Viewer]]:
    """A viewer of a run at work, driven by a thread of its own as the command drives it."""
    return _at_work


@pytest.fixture(scope="module")
def viewer(opened: OpenedRun, serve: Callable) -> Iterator[Viewer]:
    """One that stays for all tests of a file."""
    with serve(opened) as viewer:
        yield viewer


class Browser:
    """One page that looks at a viewer."""

    def __init__(self, chromium: Any, viewer: Viewer) -> None:
        self.requests: list[str] = []
        self.page = chromium.new_page(viewport={"width": 900, "height": 480})
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"http://127.0.0.1:{viewer.port}")
        self.page.get_by_role("alert").get_by_role("button").click()  # viser's word on software rendering

    def canvas(self) -> np.ndarray:
        """The scene as it is drawn now, RGB."""
        box = self.page.locator("canvas").first.bounding_box()
        return _pixels(self.page.screenshot(clip=box))

    def wait_for(self, is_so: Callable[[np.ndarray], bool]) -> np.ndarray:
        """The first image that is as it should be; the last one after a while."""
        deadline = time.monotonic() + PATIENCE
        while not is_so(image := self.canvas()) and time.monotonic() < deadline:
            self.page.wait_for_timeout(250)
        return image

    def choose(self, label: str, option: str) -> None:
        """Chooses from a list."""
        self.page.get_by_role("combobox", name=label).click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def toggle(self, label: str) -> None:
        """Ticks a box, or takes the tick away."""
        self.page.get_by_role("checkbox", name=label).click()

    def choose_background(self, color: str) -> None:
        """Types a color, as rgb(...)."""
        field = self.page.locator("input[value^='rgb(']")
        field.fill(color)
        field.press("Enter")

    def slide_time(self, share: float) -> float:
        """Clicks on the time slider at a share of its length; returns the time that it then shows."""
        track = self.page.get_by_role("slider").first.locator("xpath=..").bounding_box()
        self.page.mouse.click(track["x"] + share * track["width"], track["y"] + track["height"] / 2)
        deadline = time.monotonic() + PATIENCE
        while abs(self.time - share) > 0.03 and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
        return self.time

    @property
    def time(self) -> float:
        """What stands beside the time slider."""
        return float(self.page.get_by_role("textbox").first.input_value())

    def panel_image(self) -> np.ndarray:
        """The image of the input beside the scene, RGB."""
        return _pixels(self.page.locator("img").last.screenshot())


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


@pytest.fixture(scope="module")
def open_browser(chromium: Any) -> Callable[[Viewer], Browser]:
    """Opens another browser on a viewer."""
    return lambda viewer: Browser(chromium, viewer)


@pytest.fixture(scope="module")
def browser(open_browser: Callable[[Viewer], Browser], viewer: Viewer) -> Iterator[Browser]:
    """One that stays for all tests of a file, and leaves the input's cameras away."""
    browser = open_browser(viewer)
    browser.toggle("cameras")
    yield browser
    browser.page.close()
