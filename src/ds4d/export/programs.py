"""What other programs need: the formats that they read, and the axes that they expect."""

from dataclasses import dataclass
from typing import Literal

Axes = Literal["up", "rolled", "mirrored"]


@dataclass(frozen=True)
class Program:
    """A program to export for.

    Attributes:
        formats: keys of `ds4d.export.FORMATS` that it reads, the preferred one first.
        about: what it does with them, in a few words, for the help of `ds4d export`.
        axes: how Gaussians must lie in numbered files to appear upright and facing the viewer: "up" (y up), "rolled"
            (turned by 180 degrees about z, for programs that turn what they open, or expect captures, which are y
            down), or "mirrored" (y up with z negated, for left-handed programs that take the numbers as they are).
        sh_degree: degree of the spherical harmonics in PLY files, padded with zeros; None for that of the fit.
    """

    formats: tuple[str, ...]
    about: str
    axes: Axes = "up"
    sh_degree: int | None = None


PROGRAMS = {
    "supersplat": Program(("ply", "compressed-ply", "splat"), "a numbered sequence that it plays", "rolled"),
    "playcanvas": Program(("compressed-ply", "ply", "gltf"), "numbered files for its engine"),
    "spark": Program(("ply", "compressed-ply", "splat"), "numbered files for three.js"),
    "blender": Program(("mesh",), "an animated mesh"),
    # The readers of UnityGaussianSplatting and Unity4DGS copy the numbers, and take harmonics for those of degree 3.
    "unity": Program(("ply", "mesh"), "numbered files, left-handed, for its splat packages", "mirrored", 3),
    "unreal": Program(("ply", "mesh"), "numbered files, y down as captures are, for its splat plugins", "rolled", 3),
    "houdini": Program(("ply", "usd"), "numbered files for its nodes File and Bake GSplat", sh_degree=3),
    "web": Program(("html",), "a page that plays the object"),
}
