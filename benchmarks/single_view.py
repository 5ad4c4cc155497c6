"""Other views from one view: a flat card, the inflated shape, the lifted shape, and fits, scored on held-out views.

    python benchmarks/single_view.py DATA/gltf/*                    # the card, and the inflated shape as it is
    python benchmarks/single_view.py DATA/gltf/* --facing           # with the facing in meta.json
    python benchmarks/single_view.py DATA/gltf/frog-jump --preset cpu --device cpu     # and a fit
    python benchmarks/single_view.py DATA/gltf/* --network net.safetensors             # another network for `lift`

Only transforms_front.json is used; the views of transforms_test.json are scored. The card is the frame itself on a
plane through the origin, parallel to the image, rendered from both sides. `--images DIR` writes the scored images as
DIR/<method>/<set>/<file_path>.png.
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
from ds4d.data import FolderConfig, TransformsFrame, load_views, read_transforms
from ds4d.evaluation import render_frames, score_training_images
from ds4d.io import read_rgba, write_png
from ds4d.metrics import METRICS, average_views, score_view
from ds4d.multiview import GeneratorSettings, stag4d_cameras
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.multiview.lift import Lift, LiftConfig
from ds4d.pipeline import prepare, read_input
from ds4d.presets import PRESETS
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, Video

Render = Callable[[Sequence[TransformsFrame]], list[UInt8[np.ndarray, "H W 4"]]]


def video_of(folder: Path) -> Video:
    """The input view alone."""
    video = load_views(folder, FolderConfig(splits=("front",)))
    return Video(video.frames, 24.0, video.cameras.at_time(0))


def card(video: Video) -> Render:
    """Renders each frame as a plane through the origin, parallel to the image."""
    front = video.camera
    assert front is not None

    def render(frames: Sequence[TransformsFrame]) -> list[np.ndarray]:
        images = []
        for index, frame in enumerate(frames):
            image = torch.from_numpy(video.frames.read(index, 0).copy()).movedim(-1, 0)[None] / 255
            positions = _on_card(frame, front)
            rgba = F.grid_sample(image, positions[None], mode="bilinear", align_corners=False)[0]
            images.append(_straight(rgba))
        return images

    return render


def _on_card(frame: TransformsFrame, video: Cameras) -> Float[Tensor, "H W 2"]:
    """Position in the image of the video, in [-1, 1], of the point of the plane in each pixel of a camera."""
    ys, xs = torch.meshgrid(torch.arange(frame.height) + 0.5, torch.arange(frame.width) + 0.5, indexing="ij")
    rays = torch.stack((xs, ys, torch.ones_like(xs)), -1) @ torch.linalg.inv(frame.K).T @ frame.viewmat[:3, :3]
    center = Cameras(frame.viewmat[None], frame.K[None], frame.width, frame.height).centers[0]
    normal, depth = video.viewmats[0, 2, :3], video.viewmats[0, 2, 3]  # the plane at the depth of the origin
    steps = -(center @ normal) / (rays @ normal)
    points = center + steps[..., None] * rays
    in_video = points @ video.viewmats[0, :3, :3].T + video.viewmats[0, :3, 3]
    pixels = (in_video / depth) @ video.Ks[0].T
    positions = 2 * pixels[..., :2] / torch.tensor([video.width, video.height]) - 1
    return torch.where((steps > 0)[..., None], positions, 2.0)


def shaped(video: Video, shape: Callable[[range, Cameras], tuple[DepthPair, Cameras]]) -> Render:
    """Renders the shape of each frame, without a fit."""
    gaussians = surface_gaussians(*shape(range(video.num_times), stag4d_cameras(video)))

    def render(frames: Sequence[TransformsFrame]) -> list[np.ndarray]:
        viewmats, Ks = (torch.stack([getattr(f, name) for f in frames])[:, None] for name in ("viewmat", "K"))
        rendering = renderer_for("cpu").render(gaussians, Cameras(viewmats, Ks, frames[0].width, frames[0].height))
        return [_straight(image) for image in torch.cat((rendering.colors, rendering.alphas), dim=2)[:, 0]]

    return render


def inflated(video: Video, config: InflateConfig) -> Render:
    """Renders the inflated shape."""
    generator = Inflate(config, torch.device("cpu"))
    return shaped(video, lambda times, cameras: generator.inflate_frames(video, times, cameras))


def lifted(video: Video, config: LiftConfig) -> Render:
    """Renders the lifted shape."""
    generator = Lift(config, torch.device("cpu"))
    return shaped(video, lambda times, cameras: generator.lift_frames(video, times, cameras))


def fitted(
    folder: Path, preset: str, source: str, generators: GeneratorSettings, device: torch.device
) -> tuple[Render, dict[str, float]]:
    """Renders the object fitted to generated views; PSNR on the input view, and seconds."""
    settings = PRESETS[preset]()
    views = dataclasses.replace(settings.views, source=source, splits=("front",), generators=generators)
    settings = dataclasses.replace(settings, views=views)
    began = time.perf_counter()
    clip = read_input(folder, settings, device)
    trainer = prepare(clip.video, settings, device, points=clip.points)
    for _ in trainer.run():
        pass
    seconds = time.perf_counter() - began
    front = score_training_images(trainer.scene, trainer.renderer, trainer.video)[:, 0]

    def render(frames: Sequence[TransformsFrame]) -> list[np.ndarray]:
        return list(render_frames(trainer.scene, trainer.renderer, frames))

    return render, {"input_psnr": float(front.nanmean()), "seconds": round(seconds, 1)}


def score(render: Render, folder: Path, images: Path | None) -> dict[str, float]:
    """Metrics on the held-out views."""
    clips: dict[str | None, list[TransformsFrame]] = {}
    for frame in read_transforms(folder / "transforms_test.json"):
        clips.setdefault(frame.view, []).append(frame)
    views = []
    for clip in clips.values():
        ordered = sorted(clip, key=lambda frame: frame.time)
        rendered = render(ordered)
        views.append(score_view(np.stack([read_rgba(frame.image) for frame in ordered]), np.stack(rendered)))
        for frame, image in zip(ordered, rendered, strict=True):
            if images:
                write_png(images / folder.name / f"{frame.file_path}.png", image)
    return average_views(views)


def _straight(rgba: Float[Tensor, "4 H W"]) -> UInt8[np.ndarray, "H W 4"]:
    colors = rgba[:3] / rgba[3:].clamp_min(1e-8)
    return (torch.cat((colors, rgba[3:])).clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()


def facing_of(folder: Path) -> float:
    """The true facing of a set that was rotated; 90, which is no tilt, for one that faces the camera."""
    rotation = json.loads((folder / "meta.json").read_text())["normalization"]["model_turn_deg_yxz"][0]
    return float(rotation) if rotation else 90.0


def main() -> None:
    """Scores every set by every method and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--facing", action="store_true", help="use the true facing of rotated sets")
    parser.add_argument("--thickness", type=float, default=InflateConfig.thickness)
    parser.add_argument("--network", type=Path, help="network of lift, in place of the one in the package")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--preset", choices=PRESETS, help="also fit, with this preset")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="compute device of the fits")
    args = parser.parse_args()
    lift = LiftConfig(network=args.network)
    shapes = ["inflate", *(["lift"] if Lift.is_usable(lift, torch.device("cpu"))[0] else [])]
    methods = ["card", *shapes, *(f"fit to {name}" for name in shapes[-1:] if args.preset)]
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for folder in args.sets:
        video = video_of(folder)
        facing = facing_of(folder) if args.facing else InflateConfig.facing
        config = InflateConfig(facing=facing, thickness=args.thickness)
        for method in rows:
            began, more = time.perf_counter(), {}
            if method.startswith("fit"):
                generators = GeneratorSettings(inflate=config, lift=lift)
                render, more = fitted(folder, args.preset, shapes[-1], generators, choose_device(args.device))
            elif method == "lift":
                render = lifted(video, lift)
            else:
                render = card(video) if method == "card" else inflated(video, config)
            scores = score(render, folder, args.images and args.images / method)
            rows[method].append({"set": folder.name, **scores, **more})
            print(method, folder.name, round(time.perf_counter() - began, 1), "s", file=sys.stderr, flush=True)
    mean = {
        method: {name: round(float(np.nanmean([row[name] for row in found])), 4) for name in METRICS}
        for method, found in rows.items()
    }
    print(json.dumps({**machine(), "facing": args.facing, "preset": args.preset, "mean": mean, "sets": rows}, indent=1))


if __name__ == "__main__":
    main()
