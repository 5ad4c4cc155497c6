"""A flipbook against the fit to it: bytes, steadiness and scores on held-out views.

    python benchmarks/flipbook.py DATA/gltf/fox-run-turn60 ... -o flipbooks --preset cpu --device cpu

The flipbook stands for any program that makes an object of one image: each frame is lifted alone, without its
neighbors, and comes with its own error in size and place, as such programs center and scale every frame by itself. It
is rendered as it is (its own orientation is right; the fit has to find it), and then fitted by `--views flipbook`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from machine import machine
from single_view import score, video_of

import ds4d
from ds4d.evaluation import render_frames
from ds4d.export import write_ply
from ds4d.geometry import transform_gaussians
from ds4d.multiview import stag4d_cameras
from ds4d.multiview.depth_pairs import surface_gaussians
from ds4d.multiview.lift import Lift, LiftConfig
from ds4d.presets import PRESETS
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians
from ds4d.types import ArrayFrames, Cameras, RawGaussians, Similarity, Video

SIZE_ERROR, PLACE_ERROR = 0.03, 0.02  # standard deviations; of the size, and in units of the object's radius 0.5


def write_flipbook(video: Video, folder: Path) -> list[RawGaussians]:
    """One PLY file per frame; returns what they hold."""
    lift, cameras = Lift(LiftConfig(), torch.device("cpu")), stag4d_cameras(video)
    random, shapes = torch.Generator().manual_seed(0), []
    for time in range(video.num_times):
        alone = Video(ArrayFrames(video.frames.read(time, 0)[None, None]), video.fps, video.camera)
        active = surface_gaussians(*lift.lift_frames(alone, range(1), cameras))
        shown = (active.opacities[0] > 0).nonzero().squeeze(1)
        raw = RawGaussians(
            active.means[0, shown],
            active.quats[0, shown],
            active.scales[0, shown].log(),
            active.opacities[0, shown].logit(),
            active.sh[0, shown],
        )
        errors = torch.randn(4, generator=random)
        size, place = float(1 + SIZE_ERROR * errors[0]), 0.5 * PLACE_ERROR * errors[1:]
        shapes.append(transform_gaussians(Similarity(size, torch.eye(3), place), raw))
        write_ply(shapes[-1], folder / f"{time:03d}.ply")
    return shapes


def main() -> None:
    """Writes, fits and scores a flipbook of each set, and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for flipbooks and runs")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for data in args.sets:
        folder = args.output / data.name
        (folder / "shapes").mkdir(parents=True, exist_ok=True)
        shapes = write_flipbook(video_of(data), folder / "shapes")
        renderer = renderer_for("cpu")

        def pages(frames, shapes=shapes, renderer=renderer):
            images = []
            for index, frame in enumerate(frames):
                active = shapes[index].expand_times(1).activate()
                camera = Cameras(frame.viewmat[None, None], frame.K[None, None], frame.width, frame.height)
                rendering = renderer.render(active, camera)
                rgba = torch.cat((rendering.colors, rendering.alphas), dim=2)[0, 0]
                rgba[:3] /= rgba[3:].clamp_min(1e-8)
                images.append((rgba.clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy())
            return images

        size = sum(path.stat().st_size for path in (folder / "shapes").iterdir())
        rows.append({"set": data.name, "what": "flipbook", "bytes": size, **score(pages, data, None)})
        overrides = {
            "views.source": "flipbook",
            "views.splits": ("front",),
            "views.generators.flipbook.files": folder / "shapes",
        }
        run = ds4d.run(data, folder / "run", preset=args.preset, device=args.device, overrides=overrides)
        [file] = run.scene.export(folder / "object.splat4d")
        scene = DynamicGaussians.load(run.folder)
        more = {"gaussians": run.scene.num_gaussians, "bytes": file.stat().st_size}

        def fitted(frames, scene=scene, renderer=renderer):
            return list(render_frames(scene, renderer, frames))

        rows.append({"set": data.name, "what": "fit", **more, **score(fitted, data, None)})
        print(data.name, {row["what"]: row["psnr"] for row in rows[-2:]}, file=sys.stderr, flush=True)
    print(json.dumps({**machine(), "preset": args.preset, "sets": rows}, indent=1, default=float))


if __name__ == "__main__":
    main()
