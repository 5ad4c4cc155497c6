"""How good a fit is, and how long it takes, as JSON on the standard output; null where nothing could be measured.

    python benchmarks/fit.py DATA/gltf/* --preset fast --device cuda      # scored on each set's unseen test views
    python benchmarks/fit.py DATA/minions --preset cpu --device cpu       # no truth but the front view

    python benchmarks/fit.py DATA/gltf/* --metrics lpips detail_ratio      # further metrics, of ds4d eval --protocol
    python benchmarks/fit.py DATA/gltf/* --set training.dynamic_steps=500  # other settings than the preset's

A set with transforms files is fitted to the splits front and mv and scored on test; other layouts are fitted as they
are. The whole fit is timed: reading, initialization and training, without starting Python and without writing results.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from machine import machine

from ds4d.config import GenerateConfig
from ds4d.core import choose_device, peak_memory, with_overrides
from ds4d.data import PerturbationConfig, load_views, perturb_views, read_transforms
from ds4d.evaluation import (
    PROTOCOLS,
    ProtocolConfig,
    evaluate,
    metrics_by_protocol,
    render_frames,
    score_scene,
    score_training_views,
)
from ds4d.io import contact_sheet, read_rgba, write_png
from ds4d.metrics import METRICS
from ds4d.pipeline import prepare
from ds4d.presets import PRESETS
from ds4d.scene import DynamicGaussians, LiveScene
from ds4d.training import Trainer
from ds4d.types import Renderer
from ds4d.visualize import orbit_path


def fit(
    source: Path, config: GenerateConfig, device: torch.device, *, perturbed: bool
) -> tuple[Trainer, dict[str, Any]]:
    """A whole fit, and its figures."""
    began = time.perf_counter()
    video = load_views(source, config.views)
    if perturbed:
        video = perturb_views(video, PerturbationConfig(), config.seed)
    trainer = prepare(video, config, device)
    fitting = time.perf_counter()
    for _ in trainer.run():
        pass
    done = time.perf_counter()
    row = {
        "set": source.name,
        "seconds": round(done - began, 2),
        "seconds_before_fit": round(fitting - began, 2),
        "num_gaussians": trainer.scene.gaussians.num_gaussians,
        "peak_memory_mb": {kind: round(value / 1e6) for kind, value in peak_memory(device).items()},
    }
    return trainer, row


def playback(scene: DynamicGaussians, renderer: Renderer, *, size: int, frames: int) -> dict[str, float]:
    """Frames per second of an orbit with the deformation evaluated anew for every frame."""
    path = orbit_path(frames, elevation_deg=10.0, fovy_deg=33.9, distance=2.0, size=size).to(scene.device)
    times = torch.linspace(0, 1, frames, device=scene.device)
    speeds, live = {}, LiveScene(scene)
    for batch in (1, 8):
        for run in ("warm", "timed"):
            began = time.perf_counter()
            for rows in torch.arange(frames if run == "timed" else 2 * batch).split(batch):
                with torch.no_grad():
                    cameras = path.select(rows, torch.zeros_like(rows))
                    renderer.render(live.at(times[rows]), cameras)
            if scene.device.type == "cuda":
                torch.cuda.synchronize()
        speeds[f"{batch}_at_once"] = round(frames / (time.perf_counter() - began), 1)
    return speeds


def image_of(trainer: Trainer, data: Path, path: Path) -> None:
    """Four times of the first test view, truth above rendering."""
    frames = read_transforms(data / "transforms_test.json")
    clip = [frame for frame in frames if frame.view == frames[0].view]
    chosen = [clip[round(i * (len(clip) - 1) / 3)] for i in range(4)]
    truth = [_on_white(read_rgba(frame.image)) for frame in chosen]
    ours = [_on_white(image) for image in render_frames(trainer.scene, trainer.renderer, chosen)]
    write_png(path, contact_sheet([truth, ours], row_labels=("truth", "ds4d")))


def write_renders(trainer: Trainer, data: Path, folder: Path) -> None:
    """All test views, as `ds4d eval FOLDER --data SETS --protocol views` reads them."""
    frames = read_transforms(data / "transforms_test.json")
    for frame, image in zip(frames, render_frames(trainer.scene, trainer.renderer, frames), strict=True):
        write_png(folder / f"{frame.file_path}.png", image)


def further_scores(
    trainer: Trainer, data: Path, further: dict[str, tuple[str, ...]]
) -> tuple[dict[str, float], dict[str, str]]:
    """Further metrics on the test views, and why those without a value have none."""
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    scene = trainer.scene.bake()
    for protocol, names in further.items():
        asked = tuple(name for name in names if name not in METRICS)
        if asked:
            scores = score_scene(protocol, scene, data, ProtocolConfig(metrics=asked), scene.device)
            values |= scores.values
            reasons |= scores.not_computed
    return values, reasons


def mean_of(rows: list[dict[str, Any]], name: str) -> float | None:
    """The mean of a figure over the sets where it could be measured; None if over none."""
    measured = [row[name] for row in rows if row.get(name) is not None]
    return round(sum(measured) / len(measured), 3) if measured else None


def _on_white(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 3"]:
    alpha = image[..., 3:] / 255
    return (image[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def setting(word: str) -> tuple[str, Any]:
    """A dotted name and its value, which is written as JSON."""
    name, _, value = word.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE with a value as JSON writes it, got {word}") from error


def main() -> None:
    """Fits every set in turn and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set", nargs="+", type=setting, default=(), metavar="NAME=VALUE", help="settings besides the preset's"
    )
    parser.add_argument("--perturb-views", action="store_true", help="perturb the views besides the input view")
    parser.add_argument("--images", type=Path, help="folder for a comparison with the truth of each set")
    parser.add_argument("--renders", type=Path, help="folder for the rendered test views of each set, for ds4d eval")
    parser.add_argument("--metrics", nargs="+", default=(), metavar="NAME", help="further metrics on the test views")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="protocol of these metrics; without --metrics, all of it")
    args = parser.parse_args()
    overrides = dict(args.set)
    try:
        chosen = with_overrides(dataclasses.replace(PRESETS[args.preset](), seed=args.seed), overrides)
        further = metrics_by_protocol(args.protocol, args.metrics)
    except ValueError as error:
        parser.error(str(error))
    device = choose_device(args.device)
    rows, not_computed = [], {}
    for source in args.sets:
        config = chosen
        has_truth = (source / "transforms_test.json").is_file()
        if has_truth:
            config = dataclasses.replace(config, views=dataclasses.replace(config.views, splits=("front", "mv")))
        trainer, row = fit(source, config, device, perturbed=args.perturb_views)
        row["input_psnr"] = round(float(score_training_views(trainer.scene, trainer.renderer, trainer.video)[0]), 2)
        if has_truth:
            scores = evaluate(trainer.scene, trainer.renderer, source, "test").total
            more, reasons = further_scores(trainer, source, further)
            scores, not_computed = {**scores, **more}, {**not_computed, **reasons}
            row |= {name: None if math.isnan(value) else round(value, 4) for name, value in scores.items()}
            if args.images:
                image_of(trainer, source, args.images / f"{source.name}.png")
            if args.renders:
                write_renders(trainer, source, args.renders / source.name)
        row["frames_per_second_512"] = playback(trainer.scene, trainer.renderer, size=512, frames=96)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    names = [name for metrics in further.values() for name in metrics if name not in METRICS]
    mean = {name: mean_of(rows, name) for name in ("seconds", "input_psnr", *METRICS, *names)}
    settings = {"preset": args.preset, "seed": args.seed, "perturbed": args.perturb_views, "set": overrides}
    report = {**machine(), **settings, "mean": mean, "not_computed": not_computed, "sets": rows}
    print(json.dumps(report, indent=1, allow_nan=False))


if __name__ == "__main__":
    main()
