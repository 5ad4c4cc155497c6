"""What other programs need: the formats that they read, and the axes that they expect."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program to export for.

    Attributes:
        formats: keys of `ds4d.export.FORMATS` that it reads, the preferred one first.
        about: what it does with them, in a few words, for the help of `ds4d export`.
        rolled: whether it turns Gaussians by 180 degrees about z when it opens them, so that files must be turned, too,
            to appear upright and facing the viewer.
    """

    formats: tuple[str, ...]
    about: str
    rolled: bool = False


PROGRAMS = {
    "supersplat": Program(("ply", "compressed-ply", "splat"), "a numbered sequence that it plays", rolled=True),
    "playcanvas": Program(("compressed-ply", "ply", "gltf"), "numbered files for its engine"),
    "spark": Program(("ply", "compressed-ply", "splat"), "numbered files for three.js"),
    "blender": Program(("mesh",), "an animated mesh"),
    "web": Program(("html",), "a page that plays the object"),
}
