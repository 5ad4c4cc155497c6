"""`ds4d export`: writes a run in formats that other programs read, or as a web page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from ds4d.cli.arguments import CommandLine, Flag, RunPath
from ds4d.cli.checks import check_overwrite, check_times, frame_paths, refuse_set, remove_stale
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, export_page_command, page_outcome
from ds4d.cli.scenes import load_scene, with_jump
from ds4d.core import DeviceName, choose_device, tracked
from ds4d.export import write_compressed_ply, write_gltf, write_ply, write_splat
from ds4d.export.html import write_html
from ds4d.export.mesh import MeshConfig, animate_mesh, write_animated_glb
from ds4d.geometry import UpAxis, frame_times, into_world, inverse_similarity, transform_points, turned_world
from ds4d.rendering import renderer_for
from ds4d.scene import LoopedScene, Scene, bake_at
from ds4d.types import Similarity
from ds4d.visualize import FOVY_DEG, viewing_distance

# Formats of a single time: the ending of their files, and their writers.
WRITERS: dict[str, tuple[str, Callable[..., None]]] = {
    "ply": (".ply", write_ply),
    "compressed-ply": (".compressed.ply", write_compressed_ply),
    "splat": (".splat", write_splat),
    "gltf": (".glb", write_gltf),
}
# Formats of the whole clip in one file: the endings it may have.
_WHOLE = {"mesh": (".glb",), "html": (".html", ".htm")}
_UPRIGHT = {"gltf", "mesh"}  # formats that define y as up
# Options that only some formats use.
_READERS = {
    "sh_degree": ("ply",),
    "resolution": ("mesh",),
    **{name: (*WRITERS, "mesh") for name in ("times", "up")},
}


@dataclass(frozen=True)
class ExportArguments:
    """Exports a run: one file per time, or one file for the whole clip.

    Attributes:
        run: folder of the run.
        output: for ply, compressed-ply, splat and gltf a folder for frame0001 and so on; for mesh a .glb file, for
            html a .html file.
        format: file format: ply (3D Gaussian Splatting), compressed-ply (PlayCanvas), splat (32 bytes per Gaussian),
            gltf (binary glTF with KHR_gaussian_splatting), mesh (animated triangle mesh, binary glTF) or html (a web
            page that plays the object, without server or network).
        times: times to export, in [0, 1] from the first frame to the last; by default those of the clip's frames. Not
            for html.
        frames: number of times to export, evenly spaced from 0 to 1, in place of --times. A mesh or a page plays for
            the duration of the clip whatever their number.
        loop: blend the end of the clip into its start.
        up: up axis of the exported files, for example z for Blender; by default the input's, but y for gltf and mesh.
            Not for html.
        sh_degree: degree of the spherical harmonics in a ply, 0 to 3, padded with zeros where the fit has fewer; by
            default the fit's. Some viewers only read 3.
        resolution: number of grid cells along the longest side of the object, for mesh.
        force: replace existing files.
        device: compute device; auto uses CUDA if it is available.
    """

    run: RunPath
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    format: Literal["ply", "compressed-ply", "splat", "gltf", "mesh", "html"] = "ply"
    times: Annotated[
        tuple[float, ...] | None, tyro.conf.arg(help_behavior_hint="(default: the times of the clip's frames)")
    ] = None
    frames: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the clip's frames)")] = None
    loop: Flag = False
    up: UpAxis | None = None
    sh_degree: int | None = None
    resolution: int = MeshConfig.resolution
    force: Flag = False
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "export",
    ExportArguments,
    (
        ("export run --format html -o run.html", "a web page that plays the object"),
        ("export run --format mesh --up z -o run.glb", "an animated mesh for Blender"),
        ("export run --times 0 0.5 1 -o plys", "PLY files at three times"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    _check_options(arguments)
    scene = load_scene(arguments.run, choose_device(arguments.device))
    times = _times(arguments, scene)
    playing = LoopedScene(scene) if arguments.loop else scene
    write = {"mesh": _write_mesh, "html": _write_page}.get(arguments.format, _write_sequence)
    outcome = write(arguments, playing, times)
    return with_jump(outcome, scene) if arguments.loop else outcome


def _check_options(arguments: ExportArguments) -> None:
    """Refuses options that the format does not use."""
    if arguments.times is not None and arguments.frames is not None:
        raise ValueError("--frames must not be given with --times. Leave one out.")
    unread = [name for name, readers in _READERS.items() if arguments.format not in readers]
    refuse_set(arguments, unread, f"--format {arguments.format}")
    endings = _WHOLE.get(arguments.format)
    if endings and arguments.output.suffix.lower() not in endings:
        raise ValueError(
            f"--output must end in {endings[0]} for --format {arguments.format}, got {arguments.output}. Rename it."
        )


def _times(arguments: ExportArguments, scene: Scene) -> Float[Tensor, " T"]:
    if arguments.frames is not None:
        return frame_times(arguments.frames)
    times = scene.clip.times if arguments.times is None else arguments.times
    if len(times) == 0:
        raise ValueError("--times must name at least one time, got none.")
    check_times("times", times)
    return torch.tensor(times)


def _write_sequence(arguments: ExportArguments, scene: Scene, times: Float[Tensor, " T"]) -> Outcome:
    suffix, write = WRITERS[arguments.format]
    if arguments.sh_degree is not None:
        write = partial(write, sh_degree=arguments.sh_degree)
    paths = frame_paths(arguments.output, suffix, len(times), force=arguments.force)
    world = _outer_world(arguments, scene)
    for path, time in zip(tracked(paths, f"writing {suffix}"), times.split(1), strict=True):
        with torch.no_grad():
            raw = scene.raw_at(time.to(scene.device)).at_time(0)
        write(into_world(raw, world), path)
    remove_stale(paths)
    return Outcome(result={"times": times.tolist()}, files=paths, next=[export_page_command(arguments.run)])


def _write_mesh(arguments: ExportArguments, scene: Scene, times: Float[Tensor, " T"]) -> Outcome:
    if not (times.diff() > 0).all():
        raise ValueError(f"--times must rise for a mesh, got {times.tolist()}. Sort them.")
    check_overwrite([arguments.output], force=arguments.force)
    mesh = animate_mesh(scene, renderer_for(scene.device), times, MeshConfig(arguments.resolution))
    vertices = transform_points(inverse_similarity(_outer_world(arguments, scene)), mesh.vertices)
    seconds = (mesh.times - mesh.times[0]) * scene.clip.duration
    write_animated_glb(arguments.output, vertices, mesh.triangles, mesh.colors, seconds)
    return Outcome(
        f"{len(mesh.triangles)} triangles, {len(times)} times",
        {"triangles": len(mesh.triangles), "times": times.tolist()},
        [arguments.output],
        [export_page_command(arguments.run)],
    )


def _write_page(arguments: ExportArguments, scene: Scene, times: Float[Tensor, " T"]) -> Outcome:
    """Writes the web page, which starts with the input view."""
    path = arguments.output
    check_overwrite([path], force=arguments.force)
    baked = bake_at(scene, times)
    title = arguments.run.resolve().name
    write_html(baked, path, distance=viewing_distance(baked), fovy_deg=FOVY_DEG, title=title)
    return page_outcome(path)


def _outer_world(arguments: ExportArguments, scene: Scene) -> Similarity:
    """The similarity from the files' world to normalized space."""
    usual = "y" if arguments.format in _UPRIGHT else None
    return turned_world(scene.world, usual if arguments.up is None else arguments.up)
