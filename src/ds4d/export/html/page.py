"""A scene as one web page that plays it from the file system, without a server or a network."""

import base64
import html
import json
import re
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ds4d.export.html.packing import PackedFrames, pack_frames
from ds4d.io import atomic_path
from ds4d.scene import FOVY_DEG, BakedGaussians, Scene, bake_at, viewing_distance

_PARTS = {
    "style": "page.css",
    "unpack": "unpack.js",
    "camera": "camera.js",
    "splats": "splats.js",
    "saving": "saving.js",
    "player": "player.js",
}
_ELEVATION_DEG = 10.0  # of the first view, positive from above


def write_html(scene: Scene, path: str | Path, times: Float[Tensor, " T"], *, title: str | None = None) -> None:
    """Writes the page, atomically. It opens in front of the object and interpolates between the frames.

    Args:
        scene: the scene to play.
        path: the page (.html).
        times: times of the frames in the page, in [0, 1], rising.
        title: title of the page; by default the name of the file without its ending.

    Raises:
        ValueError: a value is NaN or infinite, or view-dependent colors change over time.
    """
    baked = bake_at(scene, times)
    packed = pack_frames(baked.frames)
    camera = {
        "azimuth": 0.0,
        "elevation": _ELEVATION_DEG,
        "distance": viewing_distance(baked),
        "fovy": FOVY_DEG,  # across the shorter side of the window
    }
    page = _page(
        title=html.escape(Path(path).stem if title is None else title),
        scene=json.dumps(_description(packed, baked) | {"camera": camera}).replace("<", "\\u003c"),
        data=base64.b64encode(packed.deflated).decode("ascii"),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _description(packed: PackedFrames, scene: BakedGaussians) -> dict[str, object]:
    """What the page knows about the scene, by the names that its scripts use."""
    numbers = {_camel(name): value for name, value in asdict(packed).items() if name != "deflated"}
    return numbers | {"times": scene.timeline.times, "duration": scene.timeline.duration}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def _page(**values: str) -> str:
    """The template with the style, the scripts and the values filled in."""
    folder = files("ds4d.export.html") / "template"
    contents = {name: (folder / file).read_text(encoding="utf-8") for name, file in _PARTS.items()} | values
    template = (folder / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: contents[match[1]], template)
