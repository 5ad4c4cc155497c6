"""What one view tells of the others: a flat card, the inflated shape and fits, scored on unseen views, as JSON.

    python benchmarks/single_view.py DATA/gltf/*                    # the card, and the inflated shape as it is
    python benchmarks/single_view.py DATA/gltf/* --facing           # with the facing that meta.json tells
    python benchmarks/single_view.py DATA/gltf/frog-jump --preset cpu --device cpu     # and an object fitted to it

Only transforms_front.json is looked at; the views of transforms_test.json are scored. The card is the frame itself on a
plane through the origin, square to the camera, drawn by perspective from both sides. `--images DIR` writes what was
scored as DIR/<method>/<set>/<file_path>.png.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from machine import machine
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import choose_device
from ds4d.data import TransformsFrame, load_views, read_transforms
from ds4d.evaluation import render_frames, score_training_images
from ds4d.io import read_rgba, write_png
from ds4d.metrics import METRICS, average_views, score_view
from ds4d.multiview import GeneratorSettings, ViewsConfig, stag4d_cameras
from ds4d.multiview.closed_surface import surface_gaussians
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.pipeline import prepare, read_input
from ds4d.presets import PRESETS
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, Video

Drawing = Callable[[Sequence[TransformsFrame]], list[UInt8[np.ndarray, "H W 4"]]]


def video_of(folder: Path) -> Video:
    """The front view alone."""
    clip = load_views(folder, ViewsConfig(splits=("front",)))
    cameras = clip.cameras
    return Video(clip.frames, 24.0, cameras.at_time(0))


def card(video: Video) -> Drawing:
    """Draws each frame as a plane through the origin, square to its camera."""
    front = video.camera
    assert front is not None

    def draw(frames: Sequence[TransformsFrame]) -> list[np.ndarray]:
        drawn = []
        for index, frame in enumerate(frames):
            image = torch.from_numpy(video.frames.read(index, 0).copy()).movedim(-1, 0)[None] / 255
            places = _on_card(frame, front)
            rgba = F.grid_sample(image, places[None], mode="bilinear", align_corners=False)[0]
            drawn.append(_straight(rgba))
        return drawn

    return draw


def _on_card(frame: TransformsFrame, video: Cameras) -> Float[Tensor, "H W 2"]:
    """Where on the video's image each pixel of a camera lies, in [-1, 1]."""
    ys, xs = torch.meshgrid(torch.arange(frame.height) + 0.5, torch.arange(frame.width) + 0.5, indexing="ij")
    rays = torch.stack((xs, ys, torch.ones_like(xs)), -1) @ torch.linalg.inv(frame.K).T @ frame.viewmat[:3, :3]
    center = -frame.viewmat[:3, :3].T @ frame.viewmat[:3, 3]
    normal, depth = (
        video.viewmats[0, 2, :3],
        video.viewmats[0, 2, 3],
    )  # the plane where the video's depth is the origin's
    steps = -(center @ normal) / (rays @ normal)
    points = center + steps[..., None] * rays
    in_video = points @ video.viewmats[0, :3, :3].T + video.viewmats[0, :3, 3]
    pixels = (in_video / depth) @ video.Ks[0].T
    places = 2 * pixels[..., :2] / torch.tensor([video.width, video.height]) - 1
    return torch.where((steps > 0)[..., None], places, 2.0)


def inflated(video: Video, config: InflateConfig) -> Drawing:
    """Draws each frame's inflated shape, nothing fitted."""
    generator, cameras = Inflate(config, torch.device("cpu")), stag4d_cameras(video)

    def draw(frames: Sequence[TransformsFrame]) -> list[np.ndarray]:
        drawn = []
        for index, frame in enumerate(frames):
            pair, front = generator.lift(video, range(index, index + 1), cameras)
            at = Cameras(frame.viewmat[None, None], frame.K[None, None], frame.width, frame.height)
            rendering = renderer_for("cpu").render(surface_gaussians(pair, front), at)
            drawn.append(_straight(torch.cat((rendering.colors, rendering.alphas), dim=2)[0, 0]))
        return drawn

    return draw


def fitted(folder: Path, preset: str, config: InflateConfig, device: torch.device) -> tuple[Drawing, dict[str, float]]:
    """Draws the object fitted to the inflated views, and how well it shows the front again, in how many seconds."""
    settings = PRESETS[preset]()
    views = dataclasses.replace(
        settings.views, source="inflate", splits=("front",), generators=GeneratorSettings(inflate=config)
    )
    settings = dataclasses.replace(settings, views=views)
    began = time.perf_counter()
    clip = read_input(folder, settings, device)
    trainer = prepare(clip.video, settings, device, points=clip.points)
    for _ in trainer.run():
        pass
    seconds = time.perf_counter() - began
    front = score_training_images(trainer.scene, trainer.renderer, trainer.video)[:, 0]

    def draw(frames: Sequence[TransformsFrame]) -> list[np.ndarray]:
        return list(render_frames(trainer.scene, trainer.renderer, frames))

    return draw, {"input_psnr": float(front.nanmean()), "seconds": round(seconds, 1)}


def score(draw: Drawing, folder: Path, images: Path | None) -> dict[str, float]:
    """The drawing's metrics on the test views."""
    clips: dict[str | None, list[TransformsFrame]] = {}
    for frame in read_transforms(folder / "transforms_test.json"):
        clips.setdefault(frame.view, []).append(frame)
    views = []
    for clip in clips.values():
        ordered = sorted(clip, key=lambda frame: frame.time)
        drawn = draw(ordered)
        views.append(score_view(np.stack([read_rgba(frame.image) for frame in ordered]), np.stack(drawn)))
        for frame, image in zip(ordered, drawn, strict=True):
            if images:
                write_png(images / folder.name / f"{frame.file_path}.png", image)
    return average_views(views)


def _straight(rgba: Float[Tensor, "4 H W"]) -> UInt8[np.ndarray, "H W 4"]:
    colors = rgba[:3] / rgba[3:].clamp_min(1e-8)
    return (torch.cat((colors, rgba[3:])).clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()


def facing_of(folder: Path) -> float:
    """The true facing of a set that was turned; 90, which is no tilt, for one that faces the camera."""
    turn = json.loads((folder / "meta.json").read_text())["normalization"]["model_turn_deg_yxz"][0]
    return float(turn) if turn else 90.0


def main() -> None:
    """Scores every set by every method and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--facing", action="store_true", help="give inflate the true facing of turned sets")
    parser.add_argument("--thickness", type=float, default=InflateConfig.thickness)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--preset", choices=PRESETS, help="fit objects too, by this preset")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the fits")
    args = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"card": [], "inflate": [], **({"fit": []} if args.preset else {})}
    for folder in args.sets:
        video = video_of(folder)
        facing = facing_of(folder) if args.facing else InflateConfig.facing
        config = InflateConfig(facing=facing, thickness=args.thickness)
        for method in rows:
            began, more = time.perf_counter(), {}
            if method == "fit":
                draw, more = fitted(folder, args.preset, config, choose_device(args.device))
            else:
                draw = card(video) if method == "card" else inflated(video, config)
            scores = score(draw, folder, args.images and args.images / method)
            rows[method].append({"set": folder.name, **scores, **more})
            print(method, folder.name, round(time.perf_counter() - began, 1), "s", file=sys.stderr, flush=True)
    mean = {
        method: {name: round(float(np.nanmean([row[name] for row in found])), 4) for name in METRICS}
        for method, found in rows.items()
    }
    print(json.dumps({**machine(), "facing": args.facing, "preset": args.preset, "mean": mean, "sets": rows}, indent=1))


if __name__ == "__main__":
    main()
