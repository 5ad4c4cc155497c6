"""What people see: a real browser looks at a finished run, and its images are compared with our own renderer's."""

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.geometry import project_points
from ds4d.rendering import renderer_for
from ds4d.scene import BakedGaussians
from ds4d.viewer import OpenedRun, Viewer, open_run
from ds4d.viewer.depth_images import draw_depth

SAME = 26.0  # dB; viser cuts Gaussians off earlier, and draws its axes in a corner
OTHER = 1.0  # dB, at least that much nearer to what it should be than to what it should not


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Of two 8-bit images, in dB."""
    error = np.mean((image.astype(float) - other) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.fixture(scope="module")
def drawn(opened: OpenedRun) -> Callable[..., np.ndarray]:
    """Our own image of the run at a time from a view, on white, as large as another image."""

    def draw(time: float, view: int, like: np.ndarray) -> np.ndarray:
        height, width = like.shape[:2]
        pose = replace(opened.views.pose(0, view), aspect=width / height)
        with torch.no_grad():
            gaussians = opened.scene.at(torch.tensor([time]))
            rendering = renderer_for("cpu").render(gaussians, pose.camera(height), backgrounds=torch.ones(1, 1, 3))
        return (255 * rendering.colors[0, 0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()

    return draw


def test_the_page_shows_the_object_as_our_renderer_draws_it(browser: Any, drawn: Callable) -> None:
    """From the camera of the front view, where everyone starts."""
    image = browser.wait_for(lambda image: psnr(image, drawn(0.0, 0, image)) > SAME)
    assert np.ptp(image.reshape(-1, 3), axis=0).min() > 100  # not blank
    assert psnr(image, drawn(0.0, 0, image)) > SAME
    assert psnr(image, drawn(0.0, 3, image)) < SAME  # another side is told apart


def test_the_slider_moves_the_image_for_all_who_look(
    browser: Any, open_browser: Callable, viewer: Viewer, drawn: Callable
) -> None:
    second = open_browser(viewer)
    try:
        second.toggle("cameras")  # shared: they are there again
        second.toggle("cameras")
        time = browser.slide_time(0.4)
        assert time == pytest.approx(0.4, abs=0.02)
        for each in (browser, second):
            image = each.wait_for(lambda image: psnr(image, drawn(time, 0, image)) > SAME)
            assert each.time == time
            assert psnr(image, drawn(time, 0, image)) > max(SAME, psnr(image, drawn(0.0, 0, image)) + OTHER)
    finally:
        second.page.close()
    assert browser.slide_time(0.0) == 0  # and the viewer lives on without the second


def test_it_plays(browser: Any) -> None:
    browser.toggle("play")
    times = []
    for _ in range(100):
        browser.page.wait_for_timeout(100)
        times.append(browser.time)
        if len(set(times)) > 3:
            break
    browser.toggle("play")
    assert len(set(times)) > 3
    browser.slide_time(0.0)


def test_a_click_on_a_camera_moves_the_view_there(browser: Any, opened: OpenedRun, drawn: Callable) -> None:
    views = opened.views
    browser.choose("input view", views.names[0])
    browser.toggle("cameras")
    canvas = browser.canvas()
    front = replace(views.pose(0, 0), aspect=canvas.shape[1] / canvas.shape[0]).camera(canvas.shape[0])
    view = 3  # behind the object and beside it
    pose = views.pose(0, view)
    inside = torch.from_numpy(pose.position + 0.1 * pose.forward).float()[None]
    pixels, _ = project_points(inside, front.at_time(0))
    x, y = pixels[0, 0].round().int().tolist()
    browser.wait_for(lambda image: np.ptp(image[y - 40 : y + 40, x - 40 : x + 40]) > 100)  # the camera is there
    browser.page.mouse.click(x, y)
    browser.page.get_by_role("combobox", name="input view").and_(
        browser.page.locator(f"[value={views.names[view]}]")
    ).wait_for()
    browser.toggle("cameras")
    image = browser.wait_for(lambda image: psnr(image, drawn(0.0, view, image)) > SAME)
    assert psnr(image, drawn(0.0, view, image)) > SAME
    shown = browser.panel_image()
    sizes = (shown.shape[1], shown.shape[0])
    expected = {v: np.asarray(Image.fromarray(views.image(0, v, saliency=False)).resize(sizes)) for v in (0, view)}
    assert psnr(shown, expected[view]) > 25 > psnr(shown, expected[0])
    browser.choose("input view", views.names[0])
    image = browser.wait_for(lambda image: psnr(image, drawn(0.0, 0, image)) > SAME)
    assert psnr(image, drawn(0.0, 0, image)) > SAME


def test_depth_and_points_are_shown(browser: Any, opened: OpenedRun) -> None:
    browser.choose("show", "depth")
    gaussians = opened.scene.at(torch.zeros(1))

    def expected(like: np.ndarray) -> np.ndarray:
        height, width = like.shape[:2]
        pose = replace(opened.views.pose(0, 0), aspect=width / height)
        with torch.no_grad():
            return draw_depth(gaussians, renderer_for("cpu"), pose, height=height, background=(255, 255, 255))

    depth = browser.wait_for(lambda image: psnr(image, expected(image)) > SAME)
    assert psnr(depth, expected(depth)) > SAME
    browser.choose("show", "points")
    points = browser.wait_for(lambda image: 0.01 < covered(image) < covered(depth))
    assert 0.01 < covered(points) < covered(depth)  # there, and with gaps between them
    browser.choose("show", "splats")


def covered(image: np.ndarray) -> float:
    """The share of an image that is not white."""
    return float((image < 250).any(-1).mean())


def test_the_background_is_as_chosen(browser: Any) -> None:
    def corner(image: np.ndarray) -> list[int]:
        return image[20, 20].tolist()

    assert corner(browser.canvas()) == [255, 255, 255]
    browser.choose_background("rgb(32, 64, 96)")
    assert corner(browser.wait_for(lambda image: corner(image) == [32, 64, 96])) == [32, 64, 96]
    browser.choose_background("rgb(255, 255, 255)")
    assert corner(browser.wait_for(lambda image: corner(image) == [255] * 3)) == [255] * 3


def test_another_scene_takes_the_place_of_the_first(
    browser: Any, viewer: Viewer, opened: OpenedRun, drawn: Callable
) -> None:
    """At the same time: what is shown must not depend on the time having moved."""
    scene = opened.scene
    nobody = replace(scene.frames, opacity_logits=torch.full_like(scene.frames.opacity_logits, -20.0))
    assert covered(browser.wait_for(lambda image: covered(image) > 0.03)) > 0.03
    viewer.show(BakedGaussians(nobody, scene.timeline, scene.world), opened.views)
    assert covered(browser.wait_for(lambda image: covered(image) < 0.02)) < 0.02
    viewer.show(scene, opened.views)
    image = browser.wait_for(lambda image: psnr(image, drawn(0.0, 0, image)) > SAME)
    assert psnr(image, drawn(0.0, 0, image)) > SAME


def test_the_heat_map_lies_over_the_real_view(browser: Any, opened: OpenedRun) -> None:
    assert opened.views.saliency is not None
    before = browser.panel_image()
    browser.toggle("heat map")
    browser.page.wait_for_timeout(1500)
    hot = browser.panel_image()
    browser.toggle("heat map")
    expected = np.asarray(Image.fromarray(opened.views.saliency[0]).resize((hot.shape[1], hot.shape[0])))
    assert psnr(hot, expected) > 25 > psnr(hot, before)


def test_screenshot(open_browser: Callable, serve: Callable, pictured_run: Path, keep_screenshot: Callable) -> None:
    """Within the clip, seen from the front among the input's cameras."""
    with serve(open_run(pictured_run, torch.device("cpu"))) as viewer:
        browser = open_browser(viewer)
        try:
            browser.page.set_viewport_size({"width": 1000, "height": 680})
            browser.slide_time(0.4)
            browser.page.mouse.move(30, 300)  # away from the slider, whose hint goes
            assert covered(browser.wait_for(lambda image: covered(image) > 0.03)) > 0.03
            browser.page.wait_for_timeout(2000)  # images on the cameras come one after the other
            keep_screenshot("viewer", browser.page.screenshot())
        finally:
            browser.page.close()


def test_nothing_but_the_page_is_served(viewer: Viewer, browser: Any) -> None:
    address = f"http://127.0.0.1:{viewer.port}"
    with urllib.request.urlopen(address) as answer:
        assert answer.status == 200
    for path in ("/config.json", "/../../../../../../../../etc/passwd", "/%2e%2e/%2e%2e/__init__.py", "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)
    assert all(request.startswith((address, f"blob:{address}", "data:")) for request in browser.requests)
