"""Hello, 4D: draws a small creature from all sides, fits a 4D object to the images, and looks at it from a new side.

    python examples/00_hello_4d.py [FOLDER]

Needs no GPU. FOLDER (runs/hello_4d if not given) then holds the images (`data`), the object with its videos (`run`)
and the new side (`upper_left.png`); open `run/contact_sheet.png` first.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import ds4d
from ds4d.config import GenerateConfig
from ds4d.data.synthetic import SampleConfig, write_sample
from ds4d.io import write_png
from ds4d.multiview import ViewsConfig
from ds4d.pipeline import Finished
from ds4d.rendering import renderer_for
from ds4d.scene import render_rgb
from ds4d.visualize import fixed_path


def main(folder: Path, config: GenerateConfig) -> None:
    """Makes the images, fits, and draws the middle of the clip from the upper left."""
    write_sample(folder / "data", SampleConfig(frames=12, size=96))
    views = ViewsConfig(splits=("front", "mv"), fps=12.0)
    for event in ds4d.iter_run(folder / "data", folder / "run", config=replace(config, views=views), device="cpu"):
        if isinstance(event, Finished):
            metrics = event.metrics
            print(f"{metrics.input_psnr:.1f} dB on the front view, {metrics.num_gaussians} Gaussians")

    scene = ds4d.DynamicGaussians.load(folder / "run")
    camera = fixed_path(1, azimuth_deg=-45.0, elevation_deg=30.0, fovy_deg=34.0, distance=2.0, size=256)
    image = next(render_rgb(scene, renderer_for("cpu"), camera, torch.tensor([0.5])))
    write_png(folder / "upper_left.png", image)
    print(f"look at {folder / 'run' / 'contact_sheet.png'} and {folder / 'upper_left.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/hello_4d"), ds4d.PRESETS["tiny"]())
