"""Fits to one camera that walks round a moving object along known poses, scored from held-out sides, as JSON.

    python benchmarks/moving_camera.py MODEL.glb ... -o walks --size 128 --preset tiny
    python benchmarks/moving_camera.py MODEL.glb ... -o walks --walks 120 360 720 --preset cpu --size 256

Each model plays its first clip while a camera walks round it evenly by some degrees, looking down a little. The images,
with alpha, are fitted with `--cameras`. Four held-out cameras see the object at the same times: from above, left, right
and behind where the camera is in the middle frame.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from turning import CAMERA_ANGLE, camera_to_world, turned

from ds4d.data import read_transforms
from ds4d.evaluation import render_frames, score_training_images
from ds4d.io import GltfModel, read_gltf, read_rgba, write_png
from ds4d.metrics import score_view
from ds4d.pipeline import prepare, read_input
from ds4d.presets import PRESETS
from ds4d.rendering import render_mesh

ELEVATION = 10.0
VIEWS = {"front": (0.0, 25.0), "left": (-90.0, 5.0), "right": (90.0, 5.0), "back": (180.0, 5.0)}


def write_walk(model: GltfModel, vertices: np.ndarray, walk: float, folder: Path, size: int) -> None:
    """The video with its cameras, and the held-out images."""
    count = len(vertices)
    way = [(walk * (time / (count - 1) - 0.5), ELEVATION) for time in range(count)]
    _write(model, vertices, {"video": way}, folder, "cameras.json", size)
    held_out = {name: [angles] * count for name, angles in VIEWS.items()}
    _write(model, vertices, held_out, folder, "transforms_test.json", size)


def _write(
    model: GltfModel,
    vertices: np.ndarray,
    cameras: dict[str, list[tuple[float, float]]],
    folder: Path,
    name: str,
    size: int,
) -> None:
    focal = size / 2 / math.tan(CAMERA_ANGLE / 2)
    K, frames = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]), []
    for view, angles in cameras.items():
        for index, (azimuth, elevation) in enumerate(angles):
            pose = camera_to_world(azimuth, elevation)
            viewmat = np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(pose)
            write_png(folder / view / f"{index:03d}.png", render_mesh(model, vertices[index], viewmat, K, size, size))
            moment = index / (len(angles) - 1)
            frames.append(
                {
                    "file_path": f"{view}/{index:03d}.png",
                    "time": moment,
                    "view": view,
                    "transform_matrix": pose.tolist(),
                }
            )
    record = {"camera_angle_x": CAMERA_ANGLE, "w": size, "h": size, "frames": frames}
    (folder / name).write_text(json.dumps(record))


def fit(folder: Path, preset: str, images: Path) -> dict[str, Any]:
    """Fits the video and scores the held-out views; writes some images, true ones on the left."""
    settings = PRESETS[preset]()
    settings = replace(settings, video=replace(settings.video, cameras=folder / "cameras.json"))
    began = time.perf_counter()
    video = read_input(folder / "video", settings, torch.device("cpu")).video
    trainer = prepare(video, settings, torch.device("cpu"))
    for _ in trainer.run():
        pass
    row: dict[str, Any] = {"seconds": round(time.perf_counter() - began, 1)}
    front = score_training_images(trainer.scene, trainer.renderer, trainer.video)
    row["video"] = {"psnr": round(float(front.nanmean()), 2)}
    for name in VIEWS:
        frames = [frame for frame in read_transforms(folder / "transforms_test.json") if frame.view == name]
        true = np.stack([read_rgba(frame.image) for frame in frames])
        rendered = np.stack(list(render_frames(trainer.scene, trainer.renderer, frames)))
        scores = score_view(true, rendered)
        row[name] = {key: round(float(scores[key]), 3) for key in ("psnr", "psnr_object", "iou")}
        strips = [np.concatenate(each[:: max(1, len(each) // 6)], axis=1) for each in (true, rendered)]
        write_png(images / f"{folder.name}-{name}.png", np.concatenate(strips, axis=0))
    return row


def main() -> None:
    """Renders every model with every walk, fits it, and prints the scores of each held-out view as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is rendered")
    parser.add_argument("--walks", type=float, nargs="+", default=[120, 360], help="degrees from first to last frame")
    parser.add_argument("--size", type=int, default=128, help="height of the images, pixels")
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in args.models:
        model = read_gltf(path)
        vertices = turned(model, 0.0)
        for walk in args.walks:
            folder = args.output / f"{path.stem}-walk{walk:.0f}"
            write_walk(model, vertices, walk, folder, args.size)
            rows.append({"model": path.stem, "walk": walk, **fit(folder, args.preset, args.output / "images")})
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({**machine(), "preset": args.preset, "size": args.size, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
