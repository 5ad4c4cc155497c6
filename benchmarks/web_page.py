"""What the page that plays an object costs, as JSON on the standard output.

    python benchmarks/web_page.py RUN --gaussians 30000
    python benchmarks/web_page.py RUN --gaussians 30000 --angle vulkan --sizes 512 1080      # on a GPU

- `mb`: of the page; `pack_seconds`: to write it.
- `rounding_db`: our renderer on the frames as the page unpacks them, against the frames themselves, before any image
  is rounded to 8 bits.
- `page_db`: screenshots of the page in a headless Chromium against our renderer's images.
- `ready_seconds`: from opening the file until the object is unpacked and on its way to the GPU.
- `drawn_by`: what Chromium draws with: a GPU, or the processor (SwiftShader).
- `playing`, by the image's height: `main_thread_ms` per image, what the page's own script does: sorting, uploading,
  asking the GPU; `images_per_second`, no display holding them back; `finished_ms` per image, the script waiting for
  each until it is drawn.
- `mega_fragments`: per image, the pixels of all Gaussians' bounding boxes: what a GPU has to fill at most.
"""

import argparse
import json
import shutil
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from PIL import Image

from ds4d.export.html import pack_frames, unpack_frames, write_html
from ds4d.geometry import quats_to_matrices
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, BakedGaussians, DynamicGaussians, GaussianParameters, viewing_distance
from ds4d.types import RawGaussians
from ds4d.visualize import fixed_path

SIZE = 512  # pixels
VIEWS = ((0.0, 0.0), (0.37, 120.0), (1.0, 250.0))  # time and azimuth
ANY = ("--no-sandbox", "--use-gl=angle", "--disable-gpu-vsync", "--disable-frame-rate-limit")
FLAGS = {
    "swiftshader": ("--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "gl-egl": ("--use-angle=gl-egl", "--ignore-gpu-blocklist"),
    "vulkan": ("--use-angle=vulkan", "--enable-features=Vulkan", "--disable-vulkan-surface", "--ignore-gpu-blocklist"),
}
DRAWN_BY = """() => {
  const gl = document.querySelector("canvas").getContext("webgl2");
  return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL);
}"""
TIMED = """(wait) => new Promise((done) => {
  const draw = SplatRenderer.prototype.draw, pixel = new Uint8Array(4);
  let spent = 0, count = 0, began = 0;
  SplatRenderer.prototype.draw = function (...given) {
    const start = performance.now();
    began ||= start;
    draw.apply(this, given);
    if (wait) this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, pixel);
    spent += performance.now() - start;
    count += 1;
    if (start - began < 5000) return;
    SplatRenderer.prototype.draw = draw;
    done([spent / count, (1000 * (count - 1)) / (start - began)]);
  };
})"""


def thicken(scene: DynamicGaussians, count: int) -> DynamicGaussians:
    """The same object of `count` Gaussians: copies scattered within the old ones, moved by the same field."""
    raw, generator = scene.canonical(), torch.Generator().manual_seed(0)

    def scattered(values: torch.Tensor, by: float) -> torch.Tensor:
        copies = values.detach()[torch.arange(count) % len(values)]
        return copies + by * torch.randn(copies.shape, generator=generator)

    copies = RawGaussians(
        raw.means.detach()[torch.arange(count) % raw.num_gaussians],
        scattered(raw.quats, 0.1),
        scattered(raw.log_scales, 0.1) - 0.6,
        scattered(raw.opacity_logits, 0.3) - 0.7,
        scattered(raw.sh, 0.03),
    ).activate()
    within = copies.scales * torch.randn(count, 3, generator=generator)
    means = copies.means + torch.einsum("nij,nj->ni", quats_to_matrices(copies.quats), within)
    logits = copies.opacities.logit()
    scene.gaussians = GaussianParameters(RawGaussians(means, copies.quats, copies.scales.log(), logits, copies.sh))
    return scene


def images(scene: BakedGaussians) -> tuple[np.ndarray, float]:
    """On white at `VIEWS` [P, H, W, 3], not rounded, and the millions of pixels in an image's bounding boxes."""
    drawn, fragments = [], 0.0
    for view_time, azimuth in VIEWS:
        camera = fixed_path(
            1, azimuth_deg=azimuth, elevation_deg=10.0, fovy_deg=FOVY_DEG, distance=viewing_distance(scene), size=SIZE
        )
        rendering = renderer_for("cpu").render(scene.at(torch.tensor([view_time])), camera)
        drawn.append((rendering.colors + 1 - rendering.alphas)[0, 0].clamp(0, 1).movedim(0, -1).numpy())
        fragments = max(fragments, float((2 * rendering.info["radii"].double()).prod(-1).sum()) / 1e6)
    return np.stack(drawn), fragments


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of colors in [0, 1]."""
    return round(float(-10 * np.log10(np.square(one - other).mean())), 1)


def in_browser(path: Path, angle: str, sizes: list[int]) -> tuple[np.ndarray, dict[str, Any]]:
    """The page's images at `VIEWS`, and its times."""
    from playwright.sync_api import sync_playwright

    trajectories, executable = [], shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*ANY, *FLAGS[angle]])
        page = browser.new_page(viewport={"width": SIZE, "height": SIZE})
        ready = []
        for view_time, azimuth in VIEWS:
            page.goto("about:blank")
            page.goto(f"{path.as_uri()}#time={view_time}&azimuth={azimuth}&background=ffffff&bar=0")
            page.wait_for_selector("body[data-state=ready]")
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            ready.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1e3)
            trajectories.append(np.array(Image.open(BytesIO(page.screenshot())).convert("RGB")) / 255)
        found: dict[str, Any] = {"drawn_by": page.evaluate(DRAWN_BY), "ready_seconds": round(min(ready), 2)}
        page.keyboard.press(" ")
        found["playing"] = {}
        for size in sizes:
            page.set_viewport_size({"width": size, "height": size})
            script, rate = page.evaluate(TIMED, False)
            times = {
                "main_thread_ms": script,
                "images_per_second": rate,
                "finished_ms": page.evaluate(TIMED, True)[0],
            }
            found["playing"][size] = {name: round(value, 2) for name, value in times.items()}
        browser.close()
    return np.stack(trajectories), found


@torch.no_grad()
def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--gaussians", type=int, help="thicken the object to so many")
    parser.add_argument("--angle", choices=FLAGS, default="swiftshader", help="what Chromium draws with")
    parser.add_argument("--sizes", type=int, nargs="+", default=[SIZE], help="of the images while it plays, pixels")
    arguments = parser.parse_args()
    if arguments.gaussians is None:
        scene = BakedGaussians.load(arguments.run)
    else:
        scene = thicken(DynamicGaussians.load(arguments.run), arguments.gaussians).bake()
    unpacked = BakedGaussians(unpack_frames(pack_frames(scene.frames)), scene.timeline, scene.world)
    truth, fragments = images(scene)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.html"
        began = time.perf_counter()
        write_html(scene, path, torch.tensor(scene.timeline.times))
        found = {"frames": len(scene.timeline.times), "gaussians": scene.frames.num_gaussians}
        found |= {"mb": round(path.stat().st_size / 1e6, 2), "pack_seconds": round(time.perf_counter() - began, 1)}
        trajectories, times = in_browser(path, arguments.angle, arguments.sizes)
    found |= {"rounding_db": decibels(images(unpacked)[0], truth), "page_db": decibels(trajectories, truth)}
    print(json.dumps({**machine(), **found, **times, "mega_fragments": round(fragments, 1)}, indent=1))


if __name__ == "__main__":
    main()
