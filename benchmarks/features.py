"""What the frame features cost, as JSON on the standard output.

    python benchmarks/features.py DATA/gltf/barbarian-run --device cuda

- `steps`: milliseconds and peak memory (less what earlier fits still hold) of one step of the fit, without features and
  with every fusion rule, at 30k Gaussians unless told otherwise; `ratio` is to the step without.
- `stale_depths`: the error of the depth test every `depth_every` steps of a whole fit: the mean change of a point's
  visibility by rendering all its images, and the fraction of (point, view) pairs that change sides.
- `between_frames`: dB between the fitted scene at times midway between two frames, its maps blended and its networks
  asked, and the same scene baked, whose Gaussians are blended.
"""

import argparse
import dataclasses
import gc
import json
import time
from pathlib import Path
from typing import Any

import torch
from machine import machine

from ds4d.config import GenerateConfig
from ds4d.core import choose_device, peak_memory, reset_peak_memory
from ds4d.data import load_views
from ds4d.fusion import RULES, visibility
from ds4d.metrics import psnr
from ds4d.pipeline import extract_frame_features, prepare
from ds4d.presets import PRESETS
from ds4d.scene import render_depths, render_rgb
from ds4d.training import StepDone, Trainer
from ds4d.types import MultiViewVideo


def steps(video: MultiViewVideo, preset: GenerateConfig, device: torch.device, counted: int) -> dict[str, Any]:
    """Cost of a step of the dynamic stage, by rule."""
    density = dataclasses.replace(preset.training.densification, every=10**9)
    fit = dataclasses.replace(
        preset.training,
        static_steps=0,
        dynamic_steps=10**6,
        low_resolution_fraction=0.0,
        temporal_curriculum=0.0,
        densification=density,
    )
    features = extract_frame_features(video, preset, device)
    found: dict[str, Any] = {}
    for rule in ("none", *RULES):
        held = torch.cuda.memory_allocated() if device.type == "cuda" else 0  # what outlives the fits before
        fusion = None if rule == "none" else dataclasses.replace(preset.fusion, rule=rule)
        trainer = prepare(video, dataclasses.replace(preset, training=fit, fusion=fusion), device, features)
        run = trainer.run()
        for _ in range(10):
            next(run)
        reset_peak_memory(device)
        _wait(device)
        began = time.perf_counter()
        for _ in range(counted):
            next(run)
        _wait(device)
        row = {
            "ms": 1e3 * (time.perf_counter() - began) / counted,
            **{k: v / 1e6 for k, v in peak_memory(device).items()},
        }
        if "gpu" in row:
            row["gpu"] -= held / 1e6
        base = found.get("none", row)
        found[rule] = {name: round(value, 1) for name, value in row.items()}
        found[rule]["ratio"] = {name: round(value / base[name], 2) for name, value in row.items()}
        del trainer, run
        gc.collect()
    return found


def fitted(
    video: MultiViewVideo, preset: GenerateConfig, device: torch.device
) -> tuple[Trainer, list[dict[str, float]]]:
    """A whole fit, and how stale its depth images were each time just before they were rendered again."""
    trainer = prepare(video, preset, device)
    assert preset.fusion is not None
    stale = []
    due = preset.fusion.depth_every
    for event in trainer.run():
        done = trainer.step - preset.training.static_steps
        if not isinstance(event, StepDone):
            continue
        if done > due and done % due == 0 and trainer.step < preset.training.total_steps:
            stale.append({"step": event.step, **staleness(trainer)})
    return trainer, stale


@torch.no_grad()
def staleness(trainer: Trainer) -> dict[str, float]:
    """How much the results of the depth test change when its images are rendered again."""
    motion = trainer.scene.motion
    assert motion is not None and motion.features is not None and motion.tssf is not None
    features, tolerance = motion.features, motion.tssf.config.tolerance
    times = trainer.video.times.to(trainer.scene.device)
    points = trainer.scene.raw_at(times[:: max(1, len(times) // 6)]).means
    rows = torch.arange(0, len(times), max(1, len(times) // 6), device=points.device)

    def seen() -> torch.Tensor:
        assert features.depths is not None
        return visibility(features.depths[rows].float(), points, features.cameras, tolerance=tolerance)

    before = seen()
    every = torch.arange(len(times), device=points.device)
    features.update_depths(every, render_depths(trainer.scene, trainer.renderer, every))
    after = seen()
    return {
        "mean_change": round(float((after - before).abs().mean()), 4),
        "changed_sides": round(float(((after > 0.5) != (before > 0.5)).float().mean()), 4),
    }


def between_frames(trainer: Trainer) -> dict[str, float]:
    """PSNR between live and baked images of all training cameras, at the frames' times and midway between them."""
    scene, video = trainer.scene, trainer.video
    baked = scene.bake()
    middles = (video.times[1:] + video.times[:-1]) / 2
    found = {}
    for name, times in (("at_frames", video.times), ("midway", middles)):
        values = []
        for view in range(video.num_views):
            cameras = video.cameras.select(torch.arange(len(times)), torch.full((len(times),), view))
            pairs = zip(
                render_rgb(scene, trainer.renderer, cameras, times),
                render_rgb(baked, trainer.renderer, cameras, times),
                strict=True,
            )
            values += [float(psnr(torch.tensor(a) / 255.0, torch.tensor(b) / 255.0)) for a, b in pairs]
        found[name] = round(min(sum(values) / len(values), 99.0), 2)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--gaussians", type=int, default=30_000, help="of the steps that are timed")
    parser.add_argument("--steps", type=int, default=50, help="timed for each rule")
    parser.add_argument("--only-steps", action="store_true", help="leave the whole fit out")
    args = parser.parse_args()
    device, preset = choose_device(args.device), PRESETS[args.preset]()
    preset = dataclasses.replace(preset, views=dataclasses.replace(preset.views, splits=("front", "mv")))
    video = load_views(args.folder, preset.views)
    many = dataclasses.replace(preset, init=dataclasses.replace(preset.init, num_gaussians=args.gaussians))
    report = {**machine(), "folder": args.folder.name, "preset": args.preset, "gaussians": args.gaussians}
    report["steps"] = steps(video, many, device, args.steps)
    if not args.only_steps:
        trainer, report["stale_depths"] = fitted(video, preset, device)
        report["between_frames"] = between_frames(trainer)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
