"""A picture of what a view generator knows of an object's sides: front, right, back and left, before any optimization.

    python benchmarks/sides.py DATA/videos/*.mp4 DATA/trex -o sides.png

One row for each video, its middle frame: four times the inflated shape, then four times the lifted shape.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from ds4d.geometry import RigView, rig_cameras
from ds4d.io import write_png
from ds4d.multiview import stag4d_cameras
from ds4d.multiview.depth_pairs import surface_gaussians
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.multiview.lift import Lift, LiftConfig
from ds4d.preprocess import VideoConfig, load_video
from ds4d.rendering import renderer_for


def main() -> None:
    """Renders and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128, help="size of each image, pixels")
    args = parser.parse_args()
    device = torch.device("cpu")
    inflate, lift = Inflate(InflateConfig(), device), Lift(LiftConfig(), device)
    rig = [RigView(str(azimuth), azimuth, 0.0, 49.1, 2.0) for azimuth in (0.0, 90.0, 180.0, 270.0)]
    rows = []
    for path in args.videos:
        video = load_video(path, VideoConfig()).video
        middle, cameras = range(video.num_times // 2, video.num_times // 2 + 1), stag4d_cameras(video)
        at = rig_cameras(rig, 2 * args.size, 2 * args.size)[None]
        for shape in (inflate.inflate_frames, lift.lift_frames):
            rendering = renderer_for(device).render(surface_gaussians(*shape(video, middle, cameras)), at)
            images = (rendering.colors + 1 - rendering.alphas)[0].clamp(0, 1)
            images = torch.nn.functional.avg_pool2d(images, 2).movedim(1, -1)
            rows.append(np.concatenate([(255 * image).round().byte().numpy() for image in images], axis=1))
    write_png(args.output, np.concatenate([np.concatenate(rows[first::2]) for first in (0, 1)], axis=1))


if __name__ == "__main__":
    main()
