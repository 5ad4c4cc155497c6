"""Size, error and speed of the HTML export of a run, as JSON on the standard output.

    python benchmarks/web_page.py RUN --gaussians 30000
    python benchmarks/web_page.py RUN --gaussians 30000 --angle vulkan --sizes 512 1080      # on a GPU

- `mb`: size of the page; `pack_seconds`: time to write it.
- `rounding_db`: error of quantization: renderings of the decompressed frames against those of the frames themselves,
  before rounding to 8 bits.
- `page_db`: screenshots of the page in headless Chromium against our renderings.
- `ready_seconds`: from opening the file until the frames are decompressed.
- `renderer`: the WebGL renderer of Chromium: a GPU, or the CPU (SwiftShader).
- `playing`, by the height of the image: `main_thread_ms` per image in the script of the page (sorting, uploading, draw
  calls); `images_per_second` without waiting for a display; `finished_ms` per image if the script waits for each.
- `mega_fragments`: millions of pixels in the bounding boxes of all Gaussians of an image, the upper bound of what a GPU
  fills.
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
RENDERER = """() => {
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
    """The object with `count` Gaussians: samples of the original ones, moved by the same deformation field."""
    raw, generator = scene.canonical(), torch.Generator().manual_seed(0)

    def perturbed(values: torch.Tensor, by: float) -> torch.Tensor:
        copies = values.detach()[torch.arange(count) % len(values)]
        return copies + by * torch.randn(copies.shape, generator=generator)

    copies = RawGaussians(
        raw.means.detach()[torch.arange(count) % raw.num_gaussians],
        perturbed(raw.quats, 0.1),
        perturbed(raw.log_scales, 0.1) - 0.6,
        perturbed(raw.opacity_logits, 0.3) - 0.7,
        perturbed(raw.sh, 0.03),
    ).activate()
    within = copies.scales * torch.randn(count, 3, generator=generator)
    means = copies.means + torch.einsum("nij,nj->ni", quats_to_matrices(copies.quats), within)
    logits = copies.opacities.logit()
    scene.gaussians = GaussianParameters(RawGaussians(means, copies.quats, copies.scales.log(), logits, copies.sh))
    return scene


def images(scene: BakedGaussians) -> tuple[np.ndarray, float]:
    """Renderings of `VIEWS` on white [P, H, W, 3], not rounded, and the millions of pixels in the bounding boxes."""
    rendered, fragments = [], 0.0
    for view_time, azimuth in VIEWS:
        camera = fixed_path(
            1, azimuth_deg=azimuth, elevation_deg=10.0, fovy_deg=FOVY_DEG, distance=viewing_distance(scene), size=SIZE
        )
        rendering = renderer_for("cpu").render(scene.at(torch.tensor([view_time])), camera)
        rendered.append((rendering.colors + 1 - rendering.alphas)[0, 0].clamp(0, 1).movedim(0, -1).numpy())
        fragments = max(fragments, float((2 * rendering.info["radii"].double()).prod(-1).sum()) / 1e6)
    return np.stack(rendered), fragments


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    """PSNR of colors in [0, 1], dB."""
    return round(float(-10 * np.log10(np.square(one - other).mean())), 1)


def in_browser(path: Path, angle: str, sizes: list[int]) -> tuple[np.ndarray, dict[str, Any]]:
    """Screenshots of the page at `VIEWS`, and its speed."""
    from playwright.sync_api import sync_playwright

    screenshots, executable = [], shutil.which("chromium") or shutil.which("google-chrome")
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
            screenshots.append(np.array(Image.open(BytesIO(page.screenshot())).convert("RGB")) / 255)
        found: dict[str, Any] = {"renderer": page.evaluate(RENDERER), "ready_seconds": round(min(ready), 2)}
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
    return np.stack(screenshots), found


@torch.no_grad()
def main() -> None:
    """Measures a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--gaussians", type=int, help="number of Gaussians to thicken the object to")
    parser.add_argument("--angle", choices=FLAGS, default="swiftshader", help="renderer of Chromium")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[SIZE], help="heights of the images while playing, pixels"
    )
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
        screenshots, times = in_browser(path, arguments.angle, arguments.sizes)
    found |= {"rounding_db": decibels(images(unpacked)[0], truth), "page_db": decibels(screenshots, truth)}
    print(json.dumps({**machine(), **found, **times, "mega_fragments": round(fragments, 1)}, indent=1))


if __name__ == "__main__":
    main()
