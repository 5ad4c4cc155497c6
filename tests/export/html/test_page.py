"""The page in a real browser, opened from the file system: rendering, playback, controls."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.export.html import write_html
from ds4d.io.video_reader import VideoReader
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, BakedGaussians, Timeline, render_rgb, viewing_distance
from ds4d.types import RawGaussians, Similarity
from ds4d.visualize import fixed_path

SIZE = 192  # pixels; small enough for a browser without a GPU
TIMEOUT = 30_000  # milliseconds
# A message of the browser about taking screenshots.
HARMLESS = "GPU stall due to ReadPixels"


class Opened:
    """A page in the browser, with its console messages and requests."""

    def __init__(self, page: Any, path: Path, address: str = "") -> None:
        self.page = page
        self.page.set_default_timeout(TIMEOUT)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{path.as_uri()}#{address}")
        self.page.wait_for_selector("body:not([data-state=loading])")

    def settle(self) -> None:
        """Waits for two animation frames, after which all changes are rendered."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def image(self) -> np.ndarray:
        """The rendered image, without the controls."""
        self.page.add_style_tag(content="#bar, #hint { display: none !important }")
        self.settle()
        return np.array(Image.open(BytesIO(self.page.screenshot())).convert("RGB")).astype(float)

    def seconds(self) -> float:
        """The time in the label."""
        self.settle()
        return float(self.page.locator("#label").inner_text().split(" /")[0])

    def errors(self) -> list[str]:
        """Console messages, except the harmless one."""
        return [line for line in self.messages if HARMLESS not in line]


def frame_times(scene: BakedGaussians) -> torch.Tensor:
    return torch.tensor(scene.timeline.times)


@pytest.fixture(scope="module")
def scene(finished_run: Path) -> BakedGaussians:
    """The object of a quick fit."""
    return BakedGaussians.load(finished_run)


@pytest.fixture(scope="module")
def page_path(scene: BakedGaussians, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the object."""
    path = tmp_path_factory.mktemp("page") / "object.html"
    write_html(scene, path, frame_times(scene), title="<b>& one object")
    return path


@pytest.fixture(scope="module")
def context(chromium: Any) -> Iterator[Any]:
    """What pages share, such as the process that shows them: to start one takes longer than what it shows."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def open_page(chromium: Any, context: Any, page_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the page at an address, paused by default; closes it after the test."""
    opened: list[Opened] = []

    def open_at(
        address: str = "time=0", *, path: Path = page_path, size: tuple[int, int] = (SIZE, SIZE), **options: Any
    ) -> Opened:
        page = chromium.new_page(**options) if options else context.new_page()
        page.set_viewport_size({"width": size[0], "height": size[1]})
        opened.append(Opened(page, path, address))
        return opened[-1]

    yield open_at
    for each in opened:
        each.page.close()


@pytest.fixture(scope="module")
def still_page(context: Any, page_path: Path) -> Iterator[Opened]:
    """The page, paused, for tests that leave it as they found it."""
    page = context.new_page()
    page.set_viewport_size({"width": SIZE, "height": 2 * SIZE})
    opened = Opened(page, page_path, "time=0&background=ffffff")
    yield opened
    opened.page.close()


def _ours(scene: BakedGaussians, time: float, azimuth: float, elevation: float, distance: float) -> np.ndarray:
    camera = fixed_path(
        1, azimuth_deg=azimuth, elevation_deg=elevation, fovy_deg=FOVY_DEG, distance=distance, size=SIZE
    )
    return next(iter(render_rgb(scene, renderer_for("cpu"), camera, torch.tensor([time])))).astype(float)


def _psnr(image: np.ndarray, target: np.ndarray) -> float:
    return float(-10 * np.log10(np.square((image - target) / 255).mean()))


@pytest.mark.parametrize(
    ("time", "azimuth", "elevation", "nearness"),
    [(0.0, 0.0, 10.0, 1.0), (0.5, 120.0, 30.0, 1.0), (0.37, 250.0, -40.0, 0.4), (1.0, 45.0, 0.0, 1.5)],
)
def test_page_agrees_with_our_renderer(
    scene: BakedGaussians, open_page: Callable, time: float, azimuth: float, elevation: float, nearness: float
) -> None:
    """At and between frames, from all sides, and so near that Gaussians leave the image."""
    distance = nearness * viewing_distance(scene)
    opened = open_page(
        f"time={time}&azimuth={azimuth}&elevation={elevation}&distance={distance}&background=ffffff&bar=0"
    )
    image = opened.image()
    assert _psnr(image, _ours(scene, time, azimuth, elevation, distance)) > 40  # dB; 50 are typical
    assert image.std() > 20, "the image is empty"
    assert opened.errors() == []
    assert len(opened.requests) == 1, "no requests but for the file itself"


@pytest.mark.parametrize("bases", [4, 9, 16])
def test_view_dependent_colors(open_page: Callable, tmp_path: Path, generator: torch.Generator, bases: int) -> None:
    count = 700  # more than one row of a texture
    sh = torch.randn(count, bases, 3, generator=generator) * 0.3
    means = 0.5 * torch.rand(3, count, 3, generator=generator) - 0.25
    frames = RawGaussians(
        means,
        torch.randn(count, 4, generator=generator).expand(3, -1, -1),
        torch.full((3, count, 3), -3.5) + torch.randn(3, count, 3, generator=generator) * 0.5,
        torch.randn(3, count, generator=generator),
        sh,
    )
    scene = BakedGaussians(frames, Timeline((0.0, 0.2, 1.0), 2.0, loops=False), Similarity.identity())
    write_html(scene, tmp_path / "page.html", frame_times(scene))
    address = "time=0.6&azimuth=70&elevation=25&distance=1.5&background=ffffff&bar=0"
    opened = open_page(address, path=tmp_path / "page.html")
    assert _psnr(opened.image(), _ours(scene, 0.6, 70.0, 25.0, 1.5)) > 38  # dB; 8 bits per coefficient, many layers


def test_playing_changes_the_image(open_page: Callable) -> None:
    opened = open_page("time=0&background=ffffff")
    opened.page.locator("#speed").select_option("0.1")
    first = opened.image()
    opened.page.evaluate("play.click()")
    opened.page.wait_for_function("() => parseFloat(label.value) > 0.05")
    opened.page.evaluate("play.click()")
    stopped = opened.seconds()
    assert stopped > 0.05 and np.abs(opened.image() - first).max() > 10
    opened.page.wait_for_timeout(300)
    assert opened.seconds() == stopped, "paused"
    assert opened.errors() == []


def test_autoplay_respects_reduced_motion(open_page: Callable) -> None:
    pressed = "() => play.getAttribute('aria-pressed')"
    assert open_page("").page.evaluate(pressed) == "true"
    assert open_page("", reduced_motion="reduce").page.evaluate(pressed) == "false"


def test_playback_stops_at_the_end_without_loop(open_page: Callable, scene: BakedGaussians) -> None:
    opened = open_page("time=0.9")
    page, duration = opened.page, round(scene.timeline.duration, 2)
    page.locator("#loop").click()
    page.locator("#play").click()
    page.wait_for_function("() => play.getAttribute('aria-pressed') === 'false'")
    assert opened.seconds() == duration
    page.locator("#play").click()  # from the start again
    page.wait_for_function("end => parseFloat(label.value) < end", arg=duration)


def test_playback_loops(open_page: Callable, scene: BakedGaussians) -> None:
    page = open_page("time=0.9").page
    page.locator("#play").click()
    page.wait_for_function("half => parseFloat(label.value) < half", arg=0.5 * scene.timeline.duration)
    assert page.locator("#play").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("speed", ["0.1", "0.5"])
def test_playback_speed(open_page: Callable, speed: str) -> None:
    page = open_page("time=0").page
    page.locator("#speed").select_option(speed)
    passed = page.evaluate("""async () => {
        const now = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
            (clock) => done([clock / 1000, parseFloat(label.value)]))));
        play.click();
        const [began, from] = await now();
        await new Promise(done => setTimeout(done, 1200));
        const [ended, to] = await now();
        return (to - from) / (ended - began);
    }""")
    assert passed == pytest.approx(
        float(speed), rel=0.35
    )  # a browser without a GPU renders about eight images a second


def test_background_color(open_page: Callable) -> None:
    opened = open_page("time=0")
    opened.page.locator("#background").fill("#2060a0")
    assert opened.image()[2, 2].tolist() == [0x20, 0x60, 0xA0]


def test_timeline(open_page: Callable, scene: BakedGaussians) -> None:
    opened = open_page("time=0&background=ffffff")
    before = opened.image()
    opened.page.evaluate("scrub.value = 0.5; scrub.dispatchEvent(new Event('input'))")
    assert opened.seconds() == pytest.approx(0.5 * scene.timeline.duration, abs=0.01)
    assert np.abs(opened.image() - before).max() > 10


def test_keyboard(open_page: Callable, scene: BakedGaussians) -> None:
    opened = open_page("time=0")
    page, frame = opened.page, scene.timeline.duration / (len(scene.timeline.times) - 1)
    for key, expected in (("ArrowRight", frame), ("ArrowRight", 2 * frame), ("ArrowLeft", frame)):
        page.keyboard.press(key)
        assert opened.seconds() == pytest.approx(expected, abs=0.006)
    page.keyboard.press("]")
    assert page.locator("#speed").input_value() == "2"
    page.keyboard.press("[")
    assert page.locator("#speed").input_value() == "1"
    page.keyboard.press("l")
    assert page.locator("#loop").get_attribute("aria-pressed") == "false"
    page.keyboard.press("b")
    assert page.locator("#background").input_value() == "#ffffff"
    for key, pressed in ((" ", "true"), (" ", "false")):
        page.keyboard.press(key)
        assert page.locator("#play").get_attribute("aria-pressed") == pressed
    page.keyboard.press("f")
    page.wait_for_function("() => document.fullscreenElement !== null")
    assert opened.errors() == []


def _drag(page: Any, button: str) -> None:
    page.mouse.move(80, 60)
    page.mouse.down(button=button)
    page.mouse.move(110, 70, steps=3)
    page.mouse.up(button=button)


@pytest.mark.parametrize(
    "act",
    [
        lambda page: _drag(page, "left"),
        lambda page: _drag(page, "right"),
        lambda page: page.mouse.wheel(0, 300),
        lambda page: page.keyboard.press("+"),
        *(lambda page, key=key: page.keyboard.press(key) for key in "-adws"),
    ],
    ids=["orbit", "pan", "zoom", "zoom by key", *"-adws"],
)
def test_camera_controls_and_reset(still_page: Opened, act: Callable) -> None:
    opened = still_page
    before = opened.image()
    opened.page.mouse.move(80, 60)
    act(opened.page)
    assert _psnr(opened.image(), before) < 35
    opened.page.evaluate("reset.click()")
    assert np.array_equal(opened.image(), before)
    act(opened.page)
    opened.page.keyboard.press("r")
    assert np.array_equal(opened.image(), before)


def _touch(page: Any, start: list[tuple[int, int]], end: list[tuple[int, int]]) -> None:
    """Fingers that move from one position to another."""
    session = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", start), ("touchMove", end), ("touchEnd", [])):
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


@pytest.mark.parametrize(
    ("start", "end", "smaller"),
    [([(80, 60)], [(120, 60)], None), ([(60, 60), (140, 60)], [(80, 60), (120, 60)], True)],
    ids=["one finger orbits", "two fingers zoom"],
)
def test_touch_gestures(open_page: Callable, start: list, end: list, smaller: bool | None) -> None:
    opened = open_page("time=0&background=ffffff", size=(SIZE, 2 * SIZE), has_touch=True, is_mobile=True)
    before = opened.image()
    _touch(opened.page, start, end)
    after = opened.image()
    assert _psnr(after, before) < 35
    if smaller:
        assert (after < 250).any(-1).sum() < 0.6 * (before < 250).any(-1).sum()


def test_two_fingers_pan(open_page: Callable) -> None:
    opened = open_page("time=0&background=ffffff", size=(SIZE, 2 * SIZE), has_touch=True, is_mobile=True)

    def middle() -> np.ndarray:
        return np.argwhere((opened.image() < 250).any(-1)).mean(0)

    before = middle()
    _touch(opened.page, [(60, 60), (120, 60)], [(75, 100), (135, 100)])
    assert middle() - before == pytest.approx(np.array([40, 15]), abs=6)  # pixels, down and to the right


def test_page_fits_a_phone(open_page: Callable) -> None:
    opened = open_page("time=0", size=(360, 640))
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in (
        "play",
        "scrub",
        "label",
        "speed",
        "loop",
        "background",
        "reset",
        "link",
        "picture",
        "clip",
        "fullscreen",
    ):
        box = opened.page.locator(f"#{name}").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 640, name


def test_a_link_opens_the_same_time_and_view(open_page: Callable, page_path: Path) -> None:
    opened = open_page("time=0&background=ffffff", size=(SIZE, 2 * SIZE))
    opened.page.evaluate("scrub.value = 0.4; scrub.dispatchEvent(new Event('input'))")
    opened.page.mouse.move(80, 60)
    for button in ("left", "right"):
        _drag(opened.page, button)
    opened.page.evaluate("link.click()")
    opened.page.wait_for_function("() => location.hash.includes('target')")
    address = opened.page.url.partition("#")[2]
    again = open_page(address, size=(SIZE, 2 * SIZE))
    assert again.seconds() == opened.seconds()
    assert _psnr(again.image(), opened.image()) > 45  # the address has four digits
    assert opened.errors() == []


def test_a_picture_is_what_the_page_shows(open_page: Callable, tmp_path: Path) -> None:
    opened = open_page("time=0.5&background=ffffff&bar=0")
    with opened.page.expect_download() as saved:
        opened.page.keyboard.press("p")
    saved.value.save_as(tmp_path / "picture.png")
    picture = np.array(Image.open(tmp_path / "picture.png").convert("RGB")).astype(float)
    assert saved.value.suggested_filename.endswith(".png") and _psnr(picture, opened.image()) > 45
    assert opened.errors() == []


def test_a_clip_of_one_pass(open_page: Callable, scene: BakedGaussians, tmp_path: Path) -> None:
    opened = open_page("time=0&background=ffffff")
    with opened.page.expect_download(timeout=TIMEOUT) as saved:
        opened.page.evaluate("clip.click()")
        opened.page.wait_for_selector("#clip[aria-pressed=true]")
    assert opened.page.locator("#clip").get_attribute("aria-pressed") == "false"
    saved.value.save_as(tmp_path / saved.value.suggested_filename)
    reader = VideoReader(tmp_path / saved.value.suggested_filename)
    images = [image for _, image in reader.read(range(len(reader.seconds)), SIZE, alpha=False)]
    assert len(images) >= 2 and images[0].std() > 5
    assert reader.seconds[-1] <= scene.timeline.duration + 2
    assert opened.errors() == []


def test_screenshot(open_page: Callable, pictured_run: Path, tmp_path: Path, keep_screenshot: Callable) -> None:
    scene = BakedGaussians.load(pictured_run)
    write_html(scene, tmp_path / "page.html", frame_times(scene))
    address = f"time=0.4&azimuth=-25&elevation=10&distance={0.85 * viewing_distance(scene)}"
    opened = open_page(address, path=tmp_path / "page.html", size=(900, 560))
    opened.settle()
    keep_screenshot("web_page", opened.page.screenshot())


def test_a_single_frame_has_no_timeline(open_page: Callable, tmp_path: Path, scene: BakedGaussians) -> None:
    still = BakedGaussians(scene.frames.at_time(0).expand_times(1), Timeline((0.0,), 0.0, loops=False), scene.world)
    write_html(still, tmp_path / "page.html", torch.zeros(1))
    opened = open_page("background=ffffff", path=tmp_path / "page.html")
    assert not opened.page.locator("#timeline").is_visible() and opened.page.locator("#reset").is_visible()
    assert opened.image().std() > 10 and opened.errors() == []


def test_a_damaged_page_shows_a_message(open_page: Callable, page_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(re.sub(r'(id="data" type="text/plain">.{400}).*?(</script>)', r"\1\2", page_path.read_text()))
    opened = open_page(path=path)
    assert "The object cannot be shown." in opened.page.locator("#message").inner_text()


def test_title_is_escaped_and_page_has_no_links(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;&amp; one object</title>" in text
    assert "http:" not in text and "https:" not in text and "{{" not in text
    scene = re.search(r'<script id="scene" type="application/json">(.*?)</script>', text)
    assert scene and json.loads(scene[1])["camera"]["azimuth"] == 0


def test_size_of_the_page(page_path: Path, scene: BakedGaussians) -> None:
    """Bytes per Gaussian and frame; at 15.6, 30,000 Gaussians in 32 frames are 15 MB."""
    data = re.search(r'id="data" type="text/plain">(.*?)</script>', page_path.read_text(encoding="utf-8"))
    assert data and 5 < len(data[1]) / scene.frames.means[..., 0].numel() < 15.6


def test_no_file_is_left_behind_by_an_error(scene: BakedGaussians, tmp_path: Path) -> None:
    means = scene.frames.means.clone()
    means[1, 2, 0] = torch.nan
    broken = BakedGaussians(replace(scene.frames, means=means), scene.timeline, scene.world)
    with pytest.raises(ValueError, match="means must be finite"):
        write_html(broken, tmp_path / "page.html", frame_times(broken))
    assert list(tmp_path.iterdir()) == []
