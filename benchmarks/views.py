"""How long views take to make, as JSON on the standard output.

    python benchmarks/views.py                   # 32 frames at 256 px of a disc that moves, on the processor
    python benchmarks/views.py DATA/trex         # of a video

The best of three runs after one that compiles; without the cache.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from machine import machine

from ds4d.multiview import stag4d_cameras
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.preprocess import VideoConfig, load_video
from ds4d.types import ArrayFrames, Video


def disc(frames: int, size: int) -> Video:
    """A disc of half the image's height that moves a little."""
    ys, xs = np.mgrid[:size, :size]
    images = np.zeros((frames, 1, size, size, 4), np.uint8)
    for index in range(frames):
        inside = (xs - size / 2 - index) ** 2 + (ys - size / 2) ** 2 < (size / 4) ** 2
        images[index, 0][inside] = (220, 120, 40, 255)
    return Video(ArrayFrames(images), 24.0)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    config = VideoConfig(frames=args.frames, size=args.size)
    video = load_video(args.video, config).video if args.video else disc(args.frames, args.size)
    generator, cameras = Inflate(InflateConfig(), torch.device("cpu")), stag4d_cameras(video)
    lifting, all_of_it = [], []
    for _ in range(4):
        began = time.perf_counter()
        for first in range(0, video.num_times, 8):
            generator.lift(video, range(first, min(first + 8, video.num_times)), cameras)
        lifted = time.perf_counter()
        generator.generate(video, seed=0)
        lifting.append(lifted - began)
        all_of_it.append(time.perf_counter() - lifted)
    seconds = {"lift": round(min(lifting[1:]), 3), "lift_and_draw": round(min(all_of_it[1:]), 3)}
    print(json.dumps({**machine(), "frames": video.num_times, "size": args.size, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
