"""How much the generated views of a clip disagree, as JSON on the standard output.

    python benchmarks/view_disagreement.py DATA/minions --preset cpu --device cpu

Fits the video with a view correction (`ds4d.losses`) and reports what it found: the warps of each generated view, in
pixels of an image 256 high, split into a part that is constant and one that changes over time, and its color gains. A
warp that all views share with the object's shape cannot be told from another shape, so these are lower bounds.
Sharpness is the mean length of the brightness's gradient on the object, over that of the real view at the same size.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from machine import machine
from torch import Tensor

from ds4d.core import choose_device
from ds4d.data import load_views
from ds4d.evaluation import score_training_views
from ds4d.pipeline import prepare
from ds4d.presets import PRESETS
from ds4d.training import Trainer
from ds4d.types import MultiViewVideo

_HEIGHT = 256


def disagreement(trainer: Trainer) -> dict[str, Any]:
    """Warps and gains of the generated views after training; means are root mean squares."""
    correction = trainer.view_correction
    assert correction is not None
    every = trainer.video.times.to(trainer.scene.device)
    inside = slice(1, -1)  # most objects do not reach the outer control points, so they stay 0
    with torch.no_grad():
        generated = correction.generated
        warps = correction.at_times(every)[:, generated, :, inside, inside] * (_HEIGHT / 2)
        views = generated.repeat(len(every))
        times = every.repeat_interleave(len(generated))
        gains = correction.gains(times, views).log().unflatten(0, (-1, len(generated)))
    steps = warps.diff(dim=0)
    return {
        "warp_fixed_px": _rms(warps.mean(0)),
        "warp_drift_px": _rms(warps - warps.mean(0)),
        "warp_frame_to_frame_px": _rms(steps) if len(steps) else 0.0,
        "warp_fixed_px_by_view": [_rms(warps.mean(0)[view]) for view in range(len(generated))],
        "gain_fixed": _rms(gains.mean(0)),
        "gain_drift": _rms(gains - gains.mean(0)),
    }


def sharpness(video: MultiViewVideo, frames: int = 8) -> list[float]:
    """Of every view against view 0."""
    times = torch.linspace(0, video.num_times - 1, min(frames, video.num_times)).round().long().unique()
    lengths = []
    for view in range(video.num_views):
        batch = video.gather(times, torch.full_like(times, view))
        gray = batch.composite(torch.ones(len(times), 3)).mean(1)
        inside = batch.alphas[:, 0, :-1, :-1] > 0.99
        across, down = gray.diff(dim=-1)[:, :-1], gray.diff(dim=-2)[..., :-1]
        lengths.append(float((across.square() + down.square()).sqrt()[inside].mean()))
    return [round(length / lengths[0], 3) for length in lengths]


def _rms(values: Float[Tensor, "..."]) -> float:
    return round(float(values.square().mean().sqrt()), 4)


def main() -> None:
    """Fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args()
    config = PRESETS[args.preset]()
    config = dataclasses.replace(config, views=dataclasses.replace(config.views, generated_weight=0.5))
    video = load_views(args.folder, config.views)
    trainer = prepare(video, config, choose_device(args.device))
    for _ in trainer.run():
        pass
    front = round(float(score_training_views(trainer.scene, trainer.renderer, trainer.video)[0]), 2)
    found = {"input_psnr": front, **disagreement(trainer), "sharpness_by_view": sharpness(video)}
    print(json.dumps({**machine(), "folder": args.folder.name, "preset": args.preset, **found}, indent=1))


if __name__ == "__main__":
    main()
