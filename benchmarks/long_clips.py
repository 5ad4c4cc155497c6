"""Seams and quality of a long clip that is fitted in windows, as JSON on the standard output.

    python benchmarks/long_clips.py                                   # 180 frames of 40 pixels, preset tiny
    python benchmarks/long_clips.py --frames 400 --window 100 --size 64
    python benchmarks/long_clips.py --frames 2000 --window 100 --size 24 --steps 60    # 8 minutes

The clip is the synthetic creature, whose motion repeats every 29 frames, from seven sides; four more are held out. It
is fitted in windows, and the frames of the first and of the last window are fitted alone by the same settings.

- `step_error` is the mean over pixels of |(R(t + 1) - R(t)) - (G(t + 1) - G(t))| of renderings R and images G: what
  flickers or jumps. `ratio` is that at the joints (from the frame before those that two windows share to the frame
  after them) by that elsewhere.
- `psnr_alone` and `psnr_in_windows` are those of the same frames.

Memory by length is measured by `clip_memory.py`.
"""

import argparse
import itertools
import json
import math
import tempfile
from pathlib import Path

import torch
from jaxtyping import Float
from machine import machine
from torch import Tensor

from ds4d.data import FolderConfig, load_views
from ds4d.data.synthetic.dataset import SPLITS
from ds4d.data.synthetic.rendering import render_sample
from ds4d.geometry import opencv_to_opengl, rig_cameras, transform_cameras
from ds4d.io import write_png
from ds4d.pipeline import iter_run
from ds4d.rendering import renderer_for
from ds4d.scene import read_baked_scene
from ds4d.scene.windowed_gaussians import read_windows

PERIOD, FOVY_DEG = 29, 33.9


def write_clip(folder: Path, frames: int, size: int) -> None:
    """Writes the images of all splits; those of later periods are links to those of the first."""
    for split, rig in SPLITS.items():
        cameras, period = rig_cameras(rig, size, size), range(min(PERIOD, frames))
        images = render_sample(cameras, torch.tensor(period) / PERIOD, supersampling=2)
        for time in range(frames):
            for number, view in enumerate(rig):
                path = folder / split / f"{view.name}_{time:05d}.png"
                if time in period:
                    write_png(path, images[time, number])
                else:
                    path.hardlink_to(path.with_name(f"{view.name}_{time % PERIOD:05d}.png"))


def describe_part(folder: Path, clip: Path, part: range, size: int) -> Path:
    """A folder with transforms files of some frames of the clip."""
    folder.mkdir()
    for split, rig in SPLITS.items():
        poses = opencv_to_opengl(rig_cameras(rig, size, size).viewmats).tolist()
        entries = [
            {
                "file_path": f"{split}/{view.name}_{time:05d}",
                "time": index / (len(part) - 1),
                "view": view.name,
                "transform_matrix": pose,
            }
            for view, pose in zip(rig, poses, strict=True)
            for index, time in enumerate(part)
        ]
        record = {"camera_angle_x": math.radians(FOVY_DEG), "frames": entries}
        (folder / split).symlink_to(clip / split)
        (folder / f"transforms_{split}.json").write_text(json.dumps(record))
    return folder


def fit(data: Path, run: Path, overrides: dict[str, object]) -> Path:
    """A finished run."""
    outputs = {"outputs.size": 32, "outputs.seconds": 0.2, "outputs.sheet_size": 16}
    for _ in iter_run(data, run, preset="tiny", overrides=outputs | overrides, device="cpu"):
        pass
    return run


@torch.no_grad()
def errors_of(run: Path, data: Path, split: str) -> tuple[Float[Tensor, " T"], Float[Tensor, " S"]]:
    """PSNR of each frame, dB, and step error from each frame to the next; means over the views."""
    scene, renderer = read_baked_scene(run), renderer_for("cpu")
    video = load_views(data, FolderConfig(splits=(split,)))
    cameras, views = transform_cameras(scene.world, video.cameras), torch.arange(video.num_views)
    scores, steps, before = [], [], None
    for time in range(video.num_times):
        rendering = renderer.render(scene.at(video.times[time : time + 1]), cameras[time : time + 1])
        image = (rendering.colors + (1 - rendering.alphas))[0].clamp(0, 1)
        truth = video.gather(torch.full_like(views, time), views).composite(torch.ones(len(views), 3))
        difference = image - truth
        scores.append((-10 * difference.square().mean((1, 2, 3)).log10()).mean())
        if before is not None:
            steps.append((difference - before).abs().mean())
        before = difference
    return torch.stack(scores), torch.stack(steps)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=180)
    parser.add_argument("--window", type=int, default=70, help="most frames of a window")
    parser.add_argument("--size", type=int, default=40, help="pixels")
    parser.add_argument("--steps", type=int, default=500, help="steps of the dynamic stage")
    options = parser.parse_args()
    result: dict[str, object] = {"machine": machine(), **vars(options)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "clip", options.frames, options.size)
        data = describe_part(folder / "whole", folder / "clip", range(options.frames), options.size)
        sizes = {
            "views.size": options.size, "windows.frames": options.window, "training.dynamic_steps": options.steps,
        }  # fmt: skip
        run = fit(data, folder / "run", sizes | {"windows.mode": "on"})
        windows = read_windows(run).windows
        result["windows"] = windows
        errors = {split: errors_of(run, data, split) for split in ("front", "test")}
        is_joint = torch.zeros(options.frames - 1, dtype=torch.bool)
        for earlier, later in itertools.pairwise(windows):
            is_joint[later[0] - 1 : earlier[1] + 1] = True
        for split, (psnr, steps) in errors.items():
            joints, elsewhere = float(steps[is_joint].mean()), float(steps[~is_joint].mean())
            step_error = {"joints": round(joints, 5), "elsewhere": round(elsewhere, 5)}
            result[split] = {
                "psnr": round(float(psnr.mean()), 2), "step_error": step_error, "ratio": round(joints / elsewhere, 3),
            }  # fmt: skip
        parts = []
        for index in sorted({0, len(windows) - 1}):
            first, last = windows[index]
            part = describe_part(folder / f"part{index}", folder / "clip", range(first, last + 1), options.size)
            alone = fit(part, folder / f"alone{index}", sizes | {"windows.mode": "off"})
            entry: dict[str, object] = {"frames": [first, last]}
            for split in errors:
                entry[split] = {
                    "psnr_alone": round(float(errors_of(alone, part, split)[0].mean()), 2),
                    "psnr_in_windows": round(float(errors[split][0][first : last + 1].mean()), 2),
                }
            parts.append(entry)
        result["parts"] = parts
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
