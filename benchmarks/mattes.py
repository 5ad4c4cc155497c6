"""Accuracy of mattes of plain backgrounds, as JSON on the standard output.

    python benchmarks/mattes.py DATA/gltf/*

The input view of each set, whose alpha is known, is composited over a plain color, encoded as H.264 with chroma
subsampling, and matted. `iou` is the mean intersection over union of the masks (alpha above one half), `min_iou` that
of the worst frame; `alpha` and `color` are mean absolute differences over the whole image, in levels of 255, of
premultiplied colors.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from machine import machine

from ds4d.data import read_transforms
from ds4d.io import premultiply, read_rgba, write_video
from ds4d.preprocess import VideoConfig, inspect_video

BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "green": (20, 190, 60)}


def score(frames: list[np.ndarray], background: tuple[int, int, int]) -> dict[str, float]:
    """Mattes a video of the frames on a background and compares the result with the frames."""
    truth = np.stack([premultiply(frame) for frame in frames]).astype(int)
    video = truth[..., :3] + (255 - truth[..., 3:]) * np.array(background) // 255
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, video.astype(np.uint8), 24.0)
        inspection = inspect_video(path, VideoConfig(size=frames[0].shape[0]))
    mattes = np.stack(inspection.context.mattes.images).astype(int)
    masks, true_masks = mattes[..., 3] > 127, truth[..., 3] > 127
    iou = (masks & true_masks).sum(axis=(1, 2)) / (masks | true_masks).sum(axis=(1, 2))
    difference = np.abs(mattes - truth).mean(axis=(0, 1, 2))
    return {
        "iou": round(float(iou.mean()), 4),
        "min_iou": round(float(iou.min()), 4),
        "alpha": round(float(difference[3]), 2),
        "color": round(float(difference[:3].mean()), 2),
    }


def main() -> None:
    """Prints the scores of every set on every background."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    results = {}
    for folder in parser.parse_args().folders:
        frames = [read_rgba(frame.image) for frame in read_transforms(folder / "transforms_front.json")]
        results[folder.name] = {name: score(frames, color) for name, color in BACKGROUNDS.items()}
    print(json.dumps({"machine": machine(), "sets": results}, indent=1))


if __name__ == "__main__":
    main()
