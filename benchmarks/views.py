"""Time to generate views by inflation, as JSON on the standard output.

    python benchmarks/views.py                   # for 32 frames of a moving disc at 256 px, on the CPU
    python benchmarks/views.py DATA/trex         # for a video

The best of three runs after a first one that compiles; without the cache.
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
    """A moving disc of half the height of the image."""
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
    inflating, generating = [], []
    for _ in range(4):
        began = time.perf_counter()
        for first in range(0, video.num_times, 8):
            generator.inflate_frames(video, range(first, min(first + 8, video.num_times)), cameras)
        inflated = time.perf_counter()
        generator.generate(video, seed=0)
        inflating.append(inflated - began)
        generating.append(time.perf_counter() - inflated)
    seconds = {"inflate": round(min(inflating[1:]), 3), "generate": round(min(generating[1:]), 3)}
    print(json.dumps({**machine(), "frames": video.num_times, "size": args.size, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
