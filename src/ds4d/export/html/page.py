"""A moving object as one web page that plays it, from the file system, without a server or a network."""

import base64
import html
import json
import re
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from ds4d.export.html.packing import PackedFrames, pack_frames
from ds4d.io import atomic_path
from ds4d.scene import BakedGaussians

_PARTS = {
    "style": "page.css",
    "unpack": "unpack.js",
    "camera": "camera.js",
    "splats": "splats.js",
    "player": "player.js",
}
_ELEVATION_DEG = 10.0  # of the first camera, positive from above


def write_html(
    scene: BakedGaussians,
    path: str | Path,
    *,
    distance: float,
    fovy_deg: float,
    title: str = "4D object",
) -> None:
    """Writes the page, whole or not at all. It shows the object in the inner world and blends between the frames.

    Args:
        scene: the object's frames.
        path: of the file.
        distance: of the first camera from the origin, inner units; it stands in front of the object.
        fovy_deg: full angle that the image's shorter side sees.
        title: of the page.

    Raises:
        ValueError: a frame holds NaN or infinity, or colors change over time in a way that the page cannot play.
    """
    packed = pack_frames(scene.frames)
    camera = {"azimuth": 0.0, "elevation": _ELEVATION_DEG, "distance": distance, "fovy": fovy_deg}
    page = _page(
        title=html.escape(title),
        scene=json.dumps(_description(packed, scene) | {"camera": camera}).replace("<", "\\u003c"),
        data=base64.b64encode(packed.deflated).decode("ascii"),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _description(packed: PackedFrames, scene: BakedGaussians) -> dict[str, object]:
    """What the page is told of the object, by the names that its scripts use."""
    numbers = {_camel(name): value for name, value in asdict(packed).items() if name != "deflated"}
    return numbers | {"times": scene.timeline.times, "duration": scene.timeline.duration}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def _page(**values: str) -> str:
    """The page with its style, its scripts and the values in their places."""
    folder = files("ds4d.export.html") / "template"
    contents = {name: (folder / file).read_text(encoding="utf-8") for name, file in _PARTS.items()} | values
    template = (folder / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: contents[match[1]], template)
