"""Speed of the renderers, as JSON on the standard output.

    python benchmarks/render.py                 # the CPU renderer; also the reference at 10k x 256
    python benchmarks/render.py --references    # also the reference at every size
    python benchmarks/render.py --gpu           # gsplat's wrapper against gsplat alone (needs CUDA)

The scene is an object as training sees it: small Gaussians filling a ball of radius 0.5, one moving
camera at distance 2.
Times are in milliseconds for a batch of four images unless stated otherwise, and the minimum of several runs, as other
work on the machine only adds time. The reference takes minutes, so it renders one image, once.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from machine import machine
from torch import Tensor

from ds4d.geometry import evaluate_sh, orbit_cameras
from ds4d.rendering import RENDERERS, SplatSettings
from ds4d.types import Cameras, Gaussians, Renderer

BATCH = 4
COUNTS, SIZES = (2_000, 10_000, 30_000), (128, 256)
FIELDS = ("means", "quats", "scales", "opacities", "sh")


def object_scene(count: int, size: int, device: str, batch: int = BATCH) -> tuple[Gaussians, Cameras]:
    """Gaussians with gradients in a ball, and a camera that moves around it."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(batch, count, 3, generator=generator), dim=-1)
    values = {
        "means": 0.5 * directions * torch.rand(batch, count, 1, generator=generator) ** (1 / 3),
        "quats": torch.nn.functional.normalize(torch.randn(batch, count, 4, generator=generator), dim=-1),
        "scales": 0.01 * (0.4 * torch.randn(batch, count, 3, generator=generator)).exp(),
        "opacities": (1.5 * torch.randn(batch, count, generator=generator)).sigmoid(),
        "sh": torch.randn(count, 1, 3, generator=generator),
    }
    azimuths = [360.0 * time / batch for time in range(batch)]
    rig = orbit_cameras(azimuths, [10.0] * batch, fovy_deg=33.9, distance=2.0, width=size, height=size)
    cameras = rig[:, None].to(device)
    return Gaussians(**{name: value.to(device).requires_grad_() for name, value in values.items()}), cameras


def shortest(run: Callable[[], None], seconds: float, device: str) -> float:
    """The shortest of the runs that fit into `seconds` (at least three after a warm-up), in milliseconds."""
    times: list[float] = []
    run()
    until = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return round(1000 * min(times), 2)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def forward_and_both(renderer: Renderer, gaussians: Gaussians, cameras: Cameras, seconds: float) -> dict[str, float]:
    """Times of rendering a batch, and of rendering it with its gradients."""
    device = gaussians.means.device.type
    upstream = torch.ones(*cameras.Ks.shape[:-2], 3, cameras.height, cameras.width, device=device)

    def forward() -> None:
        with torch.no_grad():
            renderer.render(gaussians, cameras)

    def both() -> None:
        _clear(gaussians)
        renderer.render(gaussians, cameras).colors.backward(upstream)

    return {"forward": shortest(forward, seconds, device), "forward_backward": shortest(both, seconds, device)}


def _clear(gaussians: Gaussians) -> None:
    for name in FIELDS:
        getattr(gaussians, name).grad = None


def against_reference(count: int, size: int, seconds: float) -> dict[str, float]:
    """One image by the CPU renderer and, once, by the reference."""
    gaussians, cameras = object_scene(count, size, "cpu", batch=1)
    ours = forward_and_both(RENDERERS["cpu"](), gaussians, cameras, seconds)["forward_backward"]
    _clear(gaussians)
    start = time.perf_counter()
    RENDERERS["reference"]().render(gaussians, cameras).colors.sum().backward()
    reference = round(1000 * (time.perf_counter() - start), 1)
    return {"one_image": ours, "one_image_reference": reference, "times_faster": round(reference / ours, 1)}


def cpu_sizes(seconds: float, references: bool) -> list[dict[str, Any]]:
    """Every count and size; also the reference at 10k x 256, or everywhere."""
    rows = []
    for count in COUNTS:
        for size in SIZES:
            row: dict[str, Any] = {"gaussians": count, "pixels": size, "batch": BATCH}
            row |= forward_and_both(RENDERERS["cpu"](), *object_scene(count, size, "cpu"), seconds)
            if references or (count, size) == (10_000, 256):
                row |= against_reference(count, size, seconds)
            rows.append(row)
    return rows


def cpu_threads(seconds: float) -> dict[str, Any]:
    """One thread against two at 10k x 256, alternating, so that other load affects both."""
    gaussians, cameras = object_scene(10_000, 256, "cpu")
    before = torch.get_num_threads()
    best = {1: float("inf"), 2: float("inf")}
    for _ in range(5):
        for threads in best:
            torch.set_num_threads(threads)
            run = forward_and_both(RENDERERS["cpu"](), gaussians, cameras, seconds / 5)
            best[threads] = min(best[threads], run["forward_backward"])
    torch.set_num_threads(before)
    return {"one_thread": best[1], "two_threads": best[2], "times_faster": round(best[1] / best[2], 2)}


def gpu_overhead(seconds: float) -> dict[str, Any]:
    """The wrapper against `gsplat.rasterization` called directly, at 30k x 512."""
    from gsplat import rasterization

    gaussians, cameras = object_scene(30_000, 512, "cuda")
    upstream = torch.ones(BATCH, 1, 512, 512, 3, device="cuda")

    def direct() -> Tensor:
        colors = evaluate_sh(gaussians.sh, gaussians.means.new_ones(3)).expand(BATCH, -1, -1)
        images, _, _ = rasterization(
            gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, colors,
            cameras.viewmats, cameras.Ks, 512, 512, packed=False, render_mode="RGB+ED",
        )  # fmt: skip
        return images[..., :3]

    def forward() -> None:
        with torch.no_grad():
            direct()

    def both() -> None:
        _clear(gaussians)
        direct().backward(upstream)

    alone = {"forward": shortest(forward, seconds, "cuda"), "forward_backward": shortest(both, seconds, "cuda")}
    ours = forward_and_both(RENDERERS["gsplat"](), gaussians, cameras, seconds)
    overhead = {name: round(ours[name] / alone[name] - 1, 3) for name in ours}
    return {"gaussians": 30_000, "pixels": 512, "batch": BATCH, "gsplat": alone, "ours": ours, "overhead": overhead}


def main() -> None:
    """Measures what the arguments ask for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", action="store_true", help="time the reference at every size")
    parser.add_argument("--gpu", action="store_true", help="time gsplat and its wrapper instead of the CPU")
    parser.add_argument("--seconds", type=float, default=3.0, help="spent on each number")
    options = parser.parse_args()
    report = machine() | {"settings": asdict(SplatSettings())}
    if options.gpu:
        report["gpu_overhead"] = gpu_overhead(options.seconds)
    else:
        report["cpu"] = cpu_sizes(options.seconds, options.references)
        report["cpu_threads"] = cpu_threads(options.seconds)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
