"""What stabilization makes of hand-held cameras, as JSON on the standard output.

    python benchmarks/hand_held.py DATA/gltf/*
    python benchmarks/hand_held.py DATA/gltf/* --blur 6 --fit tiny

The input view of each set is composited over a random background, filmed by a camera that shakes by up to so many
pixels (and by two degrees and two percent), encoded as H.264, and read with its true masks. `error` is the farthest
that a corner of the object's box in a frame is from where the camera's true motion puts it, in pixels of the video;
`sway` is the standard deviation, over time, of the difference between the object's center and that of the same object
before a steady camera, with stabilization and (in `sway_off`) without. `equal` tells whether the frames are those that
`--stabilize off` gives, bit for bit. With `--fit`, PSNR of the input view after a fit, with and without.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from scipy.ndimage import gaussian_filter
from skimage.transform import SimilarityTransform, resize, warp

from ds4d.data import read_transforms
from ds4d.io import read_rgba, write_png, write_video
from ds4d.pipeline import Finished, iter_run
from ds4d.preprocess import LoadedVideo, VideoConfig, load_video

SIDE, MARGIN, SHARE = 384, 96, 0.7  # of the video, around it, and of the set's images in it
TURN, ZOOM = np.radians(2.0), 0.02


def background(rng: np.random.Generator, blur: float) -> np.ndarray:
    """Noise at several scales, whose finest is blurred by a Gaussian of so many pixels; in [0, 1]."""
    shape = (SIDE + 2 * MARGIN, SIDE + 2 * MARGIN, 3)
    layers = [gaussian_filter(rng.standard_normal(shape), (scale * blur, scale * blur, 0)) for scale in (1, 3, 9)]
    return (0.5 + 0.13 * sum(layer / layer.std() for layer in layers)).clip(0, 1)


def scenes(frames: Sequence[np.ndarray], behind: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The scene and the object's alpha at each time, with a margin around what the camera sees."""
    size, colors, alphas = round(SHARE * SIDE), [], []
    first = (len(behind) - size) // 2
    for frame in frames:
        small = resize(frame / 255, (size, size), order=1, anti_aliasing=True)
        layer = np.zeros((*behind.shape[:2], 4))
        layer[first : first + size, first : first + size] = small
        colors.append(layer[..., :3] * layer[..., 3:] + behind * (1 - layer[..., 3:]))
        alphas.append(layer[..., 3])
    return colors, alphas


def poses(rng: np.random.Generator, count: int, shake: float) -> list[np.ndarray]:
    """From a frame's pixels to those of the scene, x and y; the middle frame is where the camera would stand."""
    middle, found = SIDE / 2 - 0.5, []
    for time in range(count):
        amounts = rng.uniform(-1, 1, 4) * (shake > 0) * (time != count // 2)
        center = SimilarityTransform(translation=(-middle, -middle)).params
        turned = SimilarityTransform(rotation=TURN * amounts[2], scale=1 + ZOOM * amounts[3]).params
        back = SimilarityTransform(translation=MARGIN + middle + shake * amounts[:2]).params
        found.append(back @ turned @ center)
    return found


def film(folder: Path, frames: Sequence[np.ndarray], cameras: Sequence[np.ndarray], blur: float) -> VideoConfig:
    """Writes video and masks; returns how they are read."""
    colors, alphas = scenes(frames, background(np.random.default_rng(1), blur))
    taken = []
    for time, (color, alpha, camera) in enumerate(zip(colors, alphas, cameras, strict=True)):
        seen = warp(np.dstack((color, alpha)), SimilarityTransform(matrix=camera), output_shape=(SIDE, SIDE), order=3)
        seen = (255 * seen.clip(0, 1)).round().astype(np.uint8)
        taken.append(seen[..., :3])
        write_png(folder / "masks" / f"{time:03d}.png", np.repeat(seen[..., 3:], 4, axis=-1))
    write_video(folder / "video.mp4", np.stack(taken), 24.0)
    return VideoConfig(size=128, masks=folder / "masks")


def centers(loaded: LoadedVideo) -> np.ndarray:
    """Center of the object in each frame, pixels of the video."""
    found = []
    for time in range(loaded.video.num_times):
        alpha = loaded.video.frames.read(time, 0)[..., 3] / 255.0
        at = np.arange(len(alpha)) + 0.5
        found.append(((alpha.sum(0) * at).sum() / alpha.sum(), (alpha.sum(1) * at).sum() / alpha.sum()))
    return np.array(found) * loaded.crop.side / loaded.crop.size + (loaded.crop.left, loaded.crop.top)


def score(frames: Sequence[np.ndarray], shake: float, blur: float, preset: str | None) -> dict[str, Any]:
    """Everything about one set and one strength of the shake."""
    cameras = poses(np.random.default_rng(0), len(frames), shake)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = film(folder, frames, cameras, blur)
        off = VideoConfig(size=128, masks=config.masks, stabilize="off")
        loaded, plain = (load_video(folder / "video.mp4", each) for each in (config, off))
        still_config = film(folder / "still", frames, poses(np.random.default_rng(0), len(frames), 0.0), blur)
        still = centers(load_video(folder / "still" / "video.mp4", still_config))
        images = [[each.video.frames.read(time, 0) for time in range(len(frames))] for each in (loaded, plain)]
        result: dict[str, Any] = {
            "found": [
                finding.name for finding in loaded.findings if "stab" in finding.name or "camera" in finding.name
            ],
            "error": error(loaded, cameras),
            "sway": round(float((centers(loaded) - still).std(axis=0).max()), 2),
            "sway_off": round(float((centers(plain) - still).std(axis=0).max()), 2),
            "equal": all(np.array_equal(a, b) for a, b in zip(*images, strict=True)),
        }
        if preset is not None:
            result["psnr"], result["psnr_off"] = (
                fit(folder, f"run-{number}", each, preset) for number, each in enumerate((config, off))
            )
    return result


def error(loaded: LoadedVideo, cameras: Sequence[np.ndarray]) -> float | None:
    """None where frames are left as they are."""
    if not loaded.alignment:
        return None
    low, high = (1 - SHARE) / 2 * SIDE, (1 + SHARE) / 2 * SIDE
    corners = np.array([(x, y, 1.0) for x in (low, high) for y in (low, high)]).T
    half, middle = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]), cameras[len(cameras) // 2]
    errors = []
    for camera, matrix in zip(cameras, loaded.alignment, strict=True):
        true = half @ np.linalg.inv(middle) @ camera @ np.linalg.inv(half)
        errors.append(np.abs((true @ corners - np.array(matrix) @ corners)[:2]).max())
    return round(float(max(errors)), 3)


def fit(folder: Path, name: str, video: VideoConfig, preset: str) -> float:
    """PSNR of the input view, dB."""
    overrides = {"video.masks": video.masks, "video.stabilize": video.stabilize}
    events = list(iter_run(folder / "video.mp4", folder / name, preset=preset, overrides=overrides, device="cpu"))
    assert isinstance(events[-1], Finished)
    return round(events[-1].metrics.input_psnr, 2)


def main() -> None:
    """Prints the scores of every set and shake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--shake", nargs="+", type=float, default=[0.0, 4.0, 20.0], help="pixels of 384")
    parser.add_argument("--blur", type=float, default=1.5, help="how far the background is out of focus, pixels")
    parser.add_argument("--fit", metavar="PRESET", help="fit with and without stabilization, too")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for folder in arguments.folders:
        frames = [read_rgba(frame.image) for frame in read_transforms(folder / "transforms_front.json")]
        results[folder.name] = {
            f"{shake:g}": score(frames, shake, arguments.blur, arguments.fit) for shake in arguments.shake
        }
    print(json.dumps({"machine": machine(), "sets": results}, indent=1))


if __name__ == "__main__":
    main()
