"""A viewer of a finished run in this process, and real browsers connected to it."""

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

TIMEOUT = 60.0  # seconds


@pytest.fixture(scope="session")
def opened(finished_run: Path) -> OpenedRun:
    """The run as the command opens it."""
    return open_run(finished_run, torch.device("cpu"))


@contextmanager
def _running(opened: OpenedRun) -> Generator[Viewer, None, None]:
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
    thread.join(TIMEOUT)
    viewer.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve() -> Callable[[OpenedRun], AbstractContextManager[Viewer]]:
    """Runs a viewer of a run in a thread of its own, as the command does."""
    return _running


@pytest.fixture(scope="module")
def viewer(opened: OpenedRun, serve: Callable) -> Iterator[Viewer]:
    """A viewer for all tests of a file."""
    with serve(opened) as viewer:
        yield viewer


class Browser:
    """One page connected to a viewer."""

    def __init__(self, chromium: Any, viewer: Viewer, width: int = 900, height: int = 480) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []  # of scripts, and in the console
        self.page = chromium.new_page(viewport={"width": width, "height": height})
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._keep_error)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"http://127.0.0.1:{viewer.port}")
        self.page.get_by_role("alert").get_by_role("button").click()  # viser's message about software rendering

    def _keep_error(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location['url']}")

    def canvas(self) -> np.ndarray:
        """The rendered scene, RGB."""
        box = self.page.locator("canvas").first.bounding_box()
        return _pixels(self.page.screenshot(clip=box))

    def wait_for(
        self, condition: Callable[[np.ndarray], bool], image_of: Callable[[], np.ndarray] | None = None
    ) -> np.ndarray:
        """The first image, by default of the scene, that meets a condition, or the last one before the timeout."""
        deadline = time.monotonic() + TIMEOUT
        while not condition(image := (image_of or self.canvas)()) and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
        return image

    def choose(self, label: str, option: str) -> None:
        """Chooses an option of a dropdown."""
        self.page.get_by_role("combobox", name=label).click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def toggle(self, label: str) -> None:
        """Toggles a checkbox."""
        self.page.get_by_role("checkbox", name=label).click()

    def press(self, label: str) -> None:
        """Presses a button."""
        self.page.get_by_role("button", name=label).click()

    def choose_background(self, color: str) -> None:
        """Enters a color as rgb(...)."""
        field = self.page.locator("input[value^='rgb(']")
        field.fill(color)
        field.press("Enter")

    def slide_time(self, fraction: float) -> float:
        """Clicks on the time slider at a fraction of its length; returns the time that it shows then."""
        track = self.page.get_by_role("slider").first.locator("xpath=..").bounding_box()
        self.page.mouse.click(track["x"] + fraction * track["width"], track["y"] + track["height"] / 2)
        deadline = time.monotonic() + TIMEOUT
        while abs(self.time - fraction) > 0.03 and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
        return self.time

    @property
    def time(self) -> float:
        """The value beside the time slider."""
        return float(self.page.get_by_role("textbox").first.input_value())

    def panel_image(self) -> np.ndarray:
        """The input image in the panel, RGB."""
        return _pixels(self.page.locator("img").last.screenshot())


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


@pytest.fixture(scope="module")
def open_browser(chromium: Any) -> Callable[..., Browser]:
    """Opens another browser on a viewer."""
    return lambda viewer, **size: Browser(chromium, viewer, **size)


@pytest.fixture(scope="module")
def browser(open_browser: Callable[[Viewer], Browser], viewer: Viewer) -> Iterator[Browser]:
    """A browser for all tests of a file, without the cameras of the training views."""
    browser = open_browser(viewer)
    browser.toggle("cameras")
    yield browser
    browser.page.close()
