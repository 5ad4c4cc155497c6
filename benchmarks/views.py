"""Time to generate views without pretrained weights of others, as JSON on the standard output.

    python benchmarks/views.py                   # for 32 frames of a moving disc at 256 px
    python benchmarks/views.py DATA/trex         # for a video

`shape`: depth maps of all frames; `generate`: shape and rendered views. The best of three runs after a first one that
compiles; without the cache.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine

from ds4d.core import choose_device
from ds4d.multiview import ViewGenerator, stag4d_cameras
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.multiview.lift import Lift, LiftConfig
from ds4d.preprocess import VideoConfig, load_video
from ds4d.types import ArrayFrames, Video


def disc(frames: int, size: int) -> Video:
    """A moving disc of half the height of the image."""
    ys, xs = np.mgrid[:size, :size]
    images = np.zeros((frames, 1, size, size, 4), np.uint8)
    for index in range(frames):
        inside = (xs - size / 2 - index) ** 2 + (ys - size / 2) ** 2 < (size / 4) ** 2
        images[index, 0][inside] = (220, 120, 40, 255)
    return Video(ArrayFrames(images), 24.0)


def measured(generator: ViewGenerator, shape: Callable[[range], object], video: Video) -> dict[str, float]:
    """Seconds of both parts."""
    shaping, generating = [], []
    for _ in range(4):
        began = time.perf_counter()
        for first in range(0, video.num_times, 8):
            shape(range(first, min(first + 8, video.num_times)))
        shaped = time.perf_counter()
        generator.generate(video, seed=0)
        shaping.append(shaped - began)
        generating.append(time.perf_counter() - shaped)
    return {"shape": round(min(shaping[1:]), 3), "generate": round(min(generating[1:]), 3)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args()
    config = VideoConfig(frames=args.frames, size=args.size)
    video = load_video(args.video, config).video if args.video else disc(args.frames, args.size)
    device, cameras = choose_device(args.device), stag4d_cameras(video)
    inflate, lift = Inflate(InflateConfig(), device), Lift(LiftConfig(), device)
    seconds = {
        "inflate": measured(inflate, lambda times: inflate.inflate_frames(video, times, cameras), video),
        "lift": measured(lift, lambda times: lift.lift_frames(video, times, cameras), video),
    }
    print(json.dumps({**machine(), "frames": video.num_times, "size": args.size, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
