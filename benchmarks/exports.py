"""Size and error of each export format and video format of a run, as JSON at the end of the standard output.

    python benchmarks/exports.py RUN

The Gaussians of the middle frame are written, read back and rendered from four sides at 512 px; so are all frames of a
.splat4d and of a .4dgs, of which four are rendered (extras `splat4d`, `4dgs` and `spz`). Videos of one orbit are
written and decoded. Errors are PSNR in dB against the renderings of the run itself.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from ds4d.export import (
    export_scene,
    read_compressed_ply,
    read_fourdgs,
    read_ply,
    read_sog,
    read_splat,
    read_splat4d,
    read_spz,
    write_compressed_ply,
    write_ply,
    write_sog,
    write_splat,
    write_spz,
)
from ds4d.geometry import orbit_cameras, transform_gaussians
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, DynamicGaussians, render_rgb, viewing_distance
from ds4d.types import Cameras, RawGaussians
from ds4d.visualize import SUFFIXES, OutputsConfig, orbit_trajectory, render_video

READERS: dict[str, tuple[Callable, Callable]] = {
    "ply": (write_ply, read_ply),
    "compressed-ply": (write_compressed_ply, read_compressed_ply),
    "splat": (write_splat, read_splat),
    "spz": (write_spz, read_spz),
    "sog": (write_sog, read_sog),
}


def main() -> None:
    """Measures a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    scene = DynamicGaussians.load(parser.parse_args().run)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        record = {"gaussians": scene.gaussians.num_gaussians, **_frames(scene, Path(folder))}
        record |= _clips(scene, Path(folder))
        record |= _videos(scene, Path(folder))
    print(f"\n{json.dumps(record, indent=1)}")  # GaussForge leaves a line without an end


def _four_sides(scene: DynamicGaussians) -> Cameras:
    distance = viewing_distance(scene)
    return orbit_cameras([0, 90, 180, 270], [10.0] * 4, fovy_deg=FOVY_DEG, distance=distance, width=512, height=512)


def _clips(scene: DynamicGaussians, folder: Path) -> dict[str, dict[str, float | str]]:
    count, cameras = len(scene.timeline.times), _four_sides(scene)
    times = torch.linspace(0, scene.timeline.times[-1], count)
    chosen = torch.linspace(0, count - 1, 4).round().long().tolist()
    truth = torch.cat([_render(scene.raw_at(times[i : i + 1]).at_time(0), cameras) for i in chosen])
    metrics = {}
    for name, read in {"splat4d": read_splat4d, "4dgs": read_fourdgs}.items():
        (path,) = export_scene(scene, folder / f"clip.{name}", times=times)
        frames = transform_gaussians(scene.world, read(path).frames)
        found = torch.cat([_render(frames.at_time(index), cameras) for index in chosen])
        metrics[name] = {"frames": count, "bytes": path.stat().st_size, "db": _decibels(found, truth)}
    return metrics


def _frames(scene: DynamicGaussians, folder: Path) -> dict[str, dict[str, float | str]]:
    cameras = _four_sides(scene)
    raw = scene.raw_at(torch.tensor([scene.timeline.times[scene.timeline.middle]])).at_time(0)
    truth = _render(raw, cameras)
    metrics = {}
    for name, (write, read) in READERS.items():
        path = folder / f"one.{name}"
        write(raw, path)
        metrics[name] = {"bytes": path.stat().st_size, "db": _decibels(_render(read(path), cameras), truth)}
    return metrics


def _render(raw: RawGaussians, cameras: Cameras) -> torch.Tensor:
    rendering = renderer_for("cpu").render(raw.activate(), cameras)
    return rendering.colors + 1 - rendering.alphas


def _videos(scene: DynamicGaussians, folder: Path) -> dict[str, dict[str, float | str]]:
    trajectory = orbit_trajectory(scene, OutputsConfig(size=512, fps=24.0, seconds=2.0))
    trajectory = replace(trajectory, repeats=1)
    truth = _stacked(render_rgb(scene, renderer_for("cpu"), trajectory.cameras, trajectory.times))
    metrics = {}
    for suffix in SUFFIXES:
        path = folder / f"video{suffix}"
        render_video(path, scene, renderer_for("cpu"), trajectory, 24.0)
        metrics[suffix] = {"bytes": path.stat().st_size, "db": _decibels(_stacked(_decoded(path)), truth)}
    return metrics


def _decoded(path: Path) -> list[np.ndarray]:
    """The frames of a video on white."""
    if path.suffix == ".gif":
        with Image.open(path) as animation:
            images = []
            for index in range(animation.n_frames):
                animation.seek(index)
                images.append(np.array(animation.convert("RGB")))
            return images
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if path.suffix != ".webm":
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # the only decoder that reads alpha
        rgba = [f.to_ndarray(format="rgba") for packet in list(container.demux(stream)) for f in decoder.decode(packet)]
    return [(p[..., :3] * (p[..., 3:] / 255) + 255 - p[..., 3:]).round().astype(np.uint8) for p in rgba]


def _stacked(images: object) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(images))).movedim(-1, 1) / 255


def _decibels(ours: torch.Tensor, theirs: torch.Tensor) -> float | str:
    error = float((ours.clamp(0, 1) - theirs.clamp(0, 1)).square().mean())
    return round(-10 * math.log10(error), 1) if error else "exact"


if __name__ == "__main__":
    main()
