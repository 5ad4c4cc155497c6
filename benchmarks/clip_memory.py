"""Peak main memory of fits to clips of different lengths, as JSON on the standard output.

    python benchmarks/clip_memory.py                                # 100 and 2,000 frames of 64 pixels
    python benchmarks/clip_memory.py --frames 100 300 --size 64

Each clip is a disc that circles before nothing, as a folder of RGBA images, and is fitted in a process of its own with
few steps, as the number of steps does not matter. `per_frame_kilobytes` is the growth from the shortest to the longest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine

from ds4d.io import write_png

FIT = """
import json, sys
import ds4d  # before torch, see docs/python.md
import torch
from ds4d.core import peak_memory
from ds4d.pipeline import Finished, Resolved, TrainingStarted, iter_run
overrides = {
    "init.hull.resolution": 24, "views.size": int(sys.argv[3]), "views.fps": 25.0, "views.source": "inflate",
    "training.static_steps": 3, "training.dynamic_steps": 3, "outputs.size": 32, "outputs.seconds": 0.2,
    "outputs.sheet_size": 16,
}
stages = {}
for event in iter_run(sys.argv[1], sys.argv[2], preset="tiny", overrides=overrides, device="cpu"):
    if isinstance(event, Resolved | TrainingStarted | Finished):
        name = getattr(event, "part", type(event).__name__)
        stages[name] = peak_memory(torch.device("cpu"))["main"]
print(json.dumps(stages))
"""


def write_clip(folder: Path, frames: int, size: int) -> None:
    """Writes a soft disc on a circle, straight alpha."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    for frame in range(frames):
        angle = 2 * np.pi * frame / 50
        center = size * (0.5 + 0.1 * np.cos(angle)), size * (0.5 + 0.1 * np.sin(angle))
        distance = np.hypot(columns - center[0], rows - center[1])
        alpha = (0.25 * size + 0.5 - distance).clip(0, 1)
        colors = np.stack([columns / size, rows / size, 0.5 + 0 * rows], -1)
        write_png(folder / f"{frame:05d}.png", np.rint(255 * np.dstack((colors, alpha))).astype(np.uint8))


def peaks_of(frames: int, size: int) -> dict[str, float]:
    """The peak by the end of each stage, in megabytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clip").mkdir()
        write_clip(folder / "clip", frames, size)
        argv = [sys.executable, "-c", FIT, str(folder / "clip"), str(folder / "run"), str(size)]
        environment = os.environ | {"DS4D_CACHE": str(folder / "cache")}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the fit to {frames} frames failed: {done.stderr[-2000:]}")
    return {name: round(peak / 1e6, 1) for name, peak in json.loads(done.stdout.splitlines()[-1]).items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--size", type=int, default=64, help="pixels")
    options = parser.parse_args()
    rows = [{"frames": frames, "peak_megabytes": peaks_of(frames, options.size)} for frames in sorted(options.frames)]
    first, last = (max(row["peak_megabytes"].values()) for row in (rows[0], rows[-1]))
    growth = 1000 * (last - first) / max(1, rows[-1]["frames"] - rows[0]["frames"])
    print(json.dumps({"machine": machine(), "clips": rows, "per_frame_kilobytes": round(growth, 1)}, indent=1))


if __name__ == "__main__":
    main()
