"""A tool that is taken up in the second half of a clip, with and without Gaussians that are born, as JSON.

    python benchmarks/taken_up.py                     # 120 frames of 48 pixels, preset tiny
    python benchmarks/taken_up.py --frames 164 --put-down 140
    python benchmarks/taken_up.py --no-tool           # the same clip without the tool: what births cost where none pays

The clip is the synthetic creature, whose motion repeats every 29 frames, from seven sides; four more are held out. From
frame `taken_up` on, to before frame `put_down`, it holds a paddle in its waving hand. The clip is fitted in windows
once for each number of new Gaussians that windows may add (`--windows.new-gaussians`). PSNR is that of the frames
before the tool is there, while it is, and after; `tool` is the PSNR of the pixels that it changes alone.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from jaxtyping import Float
from long_clips import PERIOD, describe_part, fit
from machine import machine
from torch import Tensor

from ds4d.data import FolderConfig, load_views
from ds4d.data.synthetic.anatomy import ellipsoid
from ds4d.data.synthetic.creature import PARTS
from ds4d.data.synthetic.dataset import SPLITS
from ds4d.data.synthetic.rendering import render_sample
from ds4d.data.synthetic.textures import over, plain, stripes
from ds4d.geometry import rig_cameras, transform_cameras
from ds4d.io import write_png
from ds4d.rendering import renderer_for
from ds4d.scene import read_baked_scene
from ds4d.scene.windowed_gaussians import read_windows

TOOL = (
    ellipsoid((-0.27, 0.0, 0.12), (0.012, 0.15, 0.012), plain("#7a4a2b"), joint="right arm"),
    ellipsoid(
        (-0.29, 0.17, 0.14), (0.075, 0.1, 0.03), over(plain("#2b3f9e"), (stripes(1, 4), plain("#f0bf3f"))),
        joint="right arm",
    ),
)  # fmt: skip


def write_clip(folder: Path, frames: int, size: int, held: range) -> None:
    """Writes the images of all splits, with the tool in some frames."""
    for split, rig in SPLITS.items():
        cameras, period = rig_cameras(rig, size, size), torch.arange(PERIOD) / PERIOD
        poses = [render_sample(cameras, period, supersampling=2, parts=parts) for parts in (PARTS, (*PARTS, *TOOL))]
        for frame in range(frames):
            for view, image in zip(rig, poses[frame in held][frame % PERIOD], strict=True):
                write_png(folder / split / f"{view.name}_{frame:05d}.png", image)


@torch.no_grad()
def errors_of(run: Path, data: Path, bare: Path, split: str) -> Float[Tensor, "T 2"]:
    """PSNR of each frame, dB: of whole images, and of the pixels that the tool changes (NaN without any)."""
    scene, renderer = read_baked_scene(run), renderer_for("cpu")
    video, without = (load_views(folder, FolderConfig(splits=(split,))) for folder in (data, bare))
    cameras, views = transform_cameras(scene.world, video.cameras), torch.arange(video.num_views)
    rows = []
    for frame in range(video.num_times):
        rendering = renderer.render(scene.at(video.times[frame : frame + 1]), cameras[frame : frame + 1])
        white, times = torch.ones(len(views), 3), torch.full_like(views, frame)
        truth, other = (clip.gather(times, views).composite(white) for clip in (video, without))
        errors = ((rendering.colors + (1 - rendering.alphas))[0].clamp(0, 1) - truth).square().mean(1)
        changed = (truth - other).abs().amax(1) > 0.02
        rows.append(torch.stack([-10 * errors.mean().log10(), -10 * errors[changed].mean().log10()]))
    return torch.stack(rows)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--taken-up", type=int, default=88, help="first frame with the tool")
    parser.add_argument("--put-down", type=int, help="first frame after it without the tool")
    parser.add_argument("--no-tool", action="store_true", help="a clip without the tool")
    parser.add_argument("--window", type=int, default=48, help="most frames of a window")
    parser.add_argument("--size", type=int, default=48, help="pixels")
    parser.add_argument("--steps", type=int, default=500, help="steps of the dynamic stage")
    parser.add_argument("--new", type=int, nargs="+", default=[0, 2000], help="most new Gaussians of a window")
    options = parser.parse_args()
    result: dict[str, object] = {"machine": machine(), **vars(options)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held = range(options.taken_up, options.put_down or options.frames)
        for clip, shown in (("whole", range(0) if options.no_tool else held), ("bare", range(0))):
            write_clip(folder / f"{clip} images", options.frames, options.size, shown)
            describe_part(folder / clip, folder / f"{clip} images", range(options.frames), options.size)
        for new in options.new:
            settings = {
                "views.size": options.size, "windows.mode": "on", "windows.frames": options.window,
                "windows.new_gaussians": new, "training.dynamic_steps": options.steps,
            }  # fmt: skip
            began = time.perf_counter()
            run = fit(folder / "whole", folder / f"run{new}", settings)
            record, entry = read_windows(run), {"seconds": round(time.perf_counter() - began)}
            entry |= {"gaussians": record.num_gaussians, "added": record.added}
            for split in ("front", "test"):
                psnr = errors_of(run, folder / "whole", folder / "bare", split)
                parts = {"before": psnr[: held.start], "held": psnr[held.start : held.stop], "after": psnr[held.stop :]}
                values = {key: rows[:, 0].mean() for key, rows in parts.items() if len(rows)}
                values["tool"] = parts["held"][:, 1].nanmean()
                entry[split] = {key: round(float(value), 2) for key, value in values.items()}
            result[f"new {new}"] = entry
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
