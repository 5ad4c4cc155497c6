"""What an object shows while it turns before the camera: fits to the front view of turning models, by held-out view.

    python benchmarks/turning.py MODEL.glb ... -o turning --preset cpu --device cpu
    python benchmarks/turning.py MODEL.glb ... -o turning --turns 0 180 360 --preset fast --device cuda

Each model plays its first clip while it turns evenly by some degrees about the vertical axis, half of them before the
middle of the video. It is rendered without light from the front, which is the video, and from four held-out views. A
model that turns by 0 degrees never shows its back; one that turns by 360 shows all sides.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from machine import machine
from single_view import fitted, inflated, lifted, video_of

from ds4d.core import choose_device
from ds4d.data import read_transforms
from ds4d.io import GltfModel, read_gltf, read_rgba, write_png
from ds4d.metrics import score_view
from ds4d.multiview import GeneratorSettings
from ds4d.multiview.inflate import InflateConfig
from ds4d.multiview.lift import LiftConfig
from ds4d.presets import PRESETS
from ds4d.rendering import render_mesh

FRAMES, DISTANCE, CAMERA_ANGLE, RADIUS, FACING = 24, 2.0, 0.591666616, 0.5, 30.0
VIEWS = {"front": (0, 0), "left": (-90, 5), "right": (90, 5), "back": (180, 5), "behind": (140, 20)}


def turned(model: GltfModel, turn: float) -> Float[np.ndarray, "T V 3"]:
    """Vertices at the times of the video, within a sphere around the origin."""
    seconds = model.clips[0].seconds if model.clips else 0.0
    vertices = model.vertices_over(0 if model.clips else None, np.linspace(0, seconds, FRAMES, endpoint=False))
    low, high = vertices.min((0, 1)), vertices.max((0, 1))
    vertices = vertices - (low + high) / 2
    vertices *= RADIUS / np.linalg.norm(vertices, axis=-1).max()
    angles = np.radians(FACING + turn * (np.linspace(0, 1, FRAMES) - 0.5))
    zero, one = np.zeros(FRAMES), np.ones(FRAMES)
    cos, sin = np.cos(angles), np.sin(angles)
    rotations = np.array([[cos, zero, sin], [zero, one, zero], [-sin, zero, cos]]).transpose(2, 0, 1)
    return vertices @ rotations.transpose(0, 2, 1)


def camera_to_world(azimuth: float, elevation: float) -> Float[np.ndarray, "4 4"]:
    """Of a camera that looks at the origin, OpenGL axes; azimuth 0 is +z."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    right = np.array([math.cos(a), 0.0, -math.sin(a)])
    matrix = np.eye(4)
    matrix[:3] = np.stack((right, np.cross(back, right), back, DISTANCE * back), 1)
    return matrix


def write_set(path: Path, turn: float, folder: Path, size: int) -> None:
    """The images and cameras of one model, in the layout of D-NeRF."""
    model = read_gltf(path)
    vertices = turned(model, turn)
    focal = size / 2 / math.tan(CAMERA_ANGLE / 2)
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    for split, names in (("front", ["front"]), ("test", [name for name in VIEWS if name != "front"])):
        frames = []
        for name in names:
            pose = camera_to_world(*VIEWS[name])
            viewmat = np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(pose)
            for index in range(FRAMES):
                write_png(
                    folder / name / f"{index:03d}.png", render_mesh(model, vertices[index], viewmat, K, size, size)
                )
                moment = index / (FRAMES - 1)
                frames.append(
                    {
                        "file_path": f"./{name}/{index:03d}",
                        "time": moment,
                        "view": name,
                        "transform_matrix": pose.tolist(),
                    }
                )
        record = {"camera_angle_x": CAMERA_ANGLE, "w": size, "h": size, "extension": ".png", "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(record))


def main() -> None:
    """Renders every model with every turn, fits it, and prints the scores of each held-out view as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the rendered sets")
    parser.add_argument("--turns", type=float, nargs="+", default=[0, 180], help="degrees from first to last frame")
    parser.add_argument("--size", type=int, default=256, help="height of the images, pixels")
    parser.add_argument("--preset", choices=PRESETS, help="also fit, with this preset")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="compute device of the fits")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in args.models:
        for turn in args.turns:
            folder = args.output / f"{path.stem}-turn{turn:.0f}"
            if not (folder / "transforms_test.json").exists():
                write_set(path, turn, folder, args.size)
            video = video_of(folder)
            methods = {
                "inflate": lambda video=video: (inflated(video, InflateConfig()), {}),
                "lift": lambda video=video: (lifted(video, LiftConfig()), {}),
            }
            if args.preset:
                methods["fit to lift"] = lambda folder=folder: fitted(
                    folder, args.preset, "lift", GeneratorSettings(), choose_device(args.device)
                )
            for method, make in methods.items():
                began = time.perf_counter()
                render, more = make()
                row: dict[str, Any] = {"model": path.stem, "turn": turn, "method": method, **more}
                for name in VIEWS:
                    frames = [f for s in ("front", "test") for f in read_transforms(folder / f"transforms_{s}.json")]
                    frames = [frame for frame in frames if frame.view == name]
                    rgba = np.stack([read_rgba(frame.image) for frame in frames])
                    rendered = np.stack(render(frames))
                    scores = score_view(rgba, rendered)
                    row[name] = {key: round(float(scores[key]), 3) for key in ("psnr", "psnr_object", "iou")}
                    for index in (0, FRAMES // 2):
                        pair = np.concatenate((rgba[index], rendered[index]), axis=1)
                        write_png(args.output / "images" / f"{folder.name}-{method}-{name}-{index:03d}.png", pair)
                rows.append(row)
                print(method, folder.name, round(time.perf_counter() - began, 1), "s", file=sys.stderr, flush=True)
    print(json.dumps({**machine(), "preset": args.preset, "threads": torch.get_num_threads(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
