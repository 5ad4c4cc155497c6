"""`ds4d export`: a generated object as files that other programs read, or as a page that plays it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from ds4d.cli.loops import with_jump
from ds4d.cli.options import check_times, refuse_set
from ds4d.cli.outcome import Outcome, page_command, written_page
from ds4d.cli.overwriting import claim, claim_frames, leave_alone
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import DeviceName, choose_device, tracked
from ds4d.export import write_compressed_ply, write_gltf, write_ply, write_splat
from ds4d.export.html import write_html
from ds4d.export.mesh import MeshConfig, animate_mesh, write_animated_glb
from ds4d.geometry import UpAxis, frame_times, into_world, inverse_similarity, set_up_axis, transform_points
from ds4d.rendering import renderer_for
from ds4d.runs import RunFolder
from ds4d.scene import FOVY_DEG, DynamicGaussians, LoopedScene, Scene, bake_at, viewing_distance
from ds4d.types import Similarity

# Formats of a single moment, one file per time: how their files end, and what writes one.
WRITERS: dict[str, tuple[str, Callable[..., None]]] = {
    "ply": (".ply", write_ply),
    "compressed-ply": (".compressed.ply", write_compressed_ply),
    "splat": (".splat", write_splat),
    "gltf": (".glb", write_gltf),
}
# Formats of the whole clip, one file: the endings that file may have.
_WHOLE = {"mesh": (".glb",), "html": (".html", ".htm")}
_UPRIGHT = {"gltf", "mesh"}  # formats whose own worlds are y up
# Options that only some formats read.
_READERS = {
    "sh_degree": ("ply",),
    "resolution": ("mesh",),
    **{name: (*WRITERS, "mesh") for name in ("times", "up")},
}


@dataclass(frozen=True)
class ExportArguments(ScreenOptions):
    """Writes a generated object as files that other programs read: numbered ones, one per time, or one for the clip.

    Attributes:
        run: folder of the run.
        output: folder of the files frame0001 and so on; for mesh and html, the file (.glb, .html).
        format: ply: the layout of 3D Gaussian splatting. compressed-ply: PlayCanvas' packed one. splat: 32 bytes per
            Gaussian. gltf: binary glTF with KHR_gaussian_splatting. mesh: a triangle mesh that moves, as binary glTF.
            html: a page for any browser, without server or network, that plays the object.
        times: in [0, 1], from the first frame to the last; those of the clip's frames if neither they nor --frames are
            given. Not for html.
        frames: so many times, evenly from 0 to 1, also between those of the clip. A mesh or a page of more frames plays
            as fast as one of fewer; numbered files, played at the clip's rate, are slower.
        loop: blend the end of the clip into its start.
        up: axis of the files' world that points up: z in Blender, -y in many viewers of splats. That of the input's
            world if not given, but y in glTF. Not for html.
        sh_degree: of a ply's colors, 0 to 3, filled up with zeros: some viewers read 3 only. The fit's own if not
            given.
        resolution: of a mesh: steps of the grid along the object.
        force: replace files that are there.
        device: where to work; auto takes CUDA where it can be used.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    format: Literal["ply", "compressed-ply", "splat", "gltf", "mesh", "html"] = "ply"
    times: tuple[float, ...] | None = None
    frames: int | None = None
    loop: bool = False
    up: UpAxis | None = None
    sh_degree: int | None = None
    resolution: int = MeshConfig.resolution
    force: bool = False
    device: DeviceName = "auto"


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(ExportArguments, args=list(words), prog="ds4d export")
    _check_options(arguments)
    RunFolder(arguments.run).check_scene()
    scene = DynamicGaussians.load(arguments.run, choose_device(arguments.device))
    times = _times(arguments, scene)
    playing = LoopedScene(scene) if arguments.loop else scene
    write = {"mesh": _write_mesh, "html": _write_page}.get(arguments.format, _write_sequence)
    outcome = write(arguments, playing, times)
    return with_jump(outcome, scene) if arguments.loop else outcome


def _check_options(arguments: ExportArguments) -> None:
    """Only the options that the format reads."""
    if arguments.times is not None and arguments.frames is not None:
        raise ValueError("--frames must not be given with --times, which says the times already. Leave one out.")
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
    paths = claim_frames(arguments.output, suffix, len(times), force=arguments.force)
    world = _outer_world(arguments, scene)
    for path, time in zip(tracked(paths, f"writing {suffix}"), times.split(1), strict=True):
        with torch.no_grad():
            raw = scene.raw_at(time.to(scene.device)).at_time(0)
        write(into_world(raw, world), path)
    leave_alone(paths)
    return Outcome(result={"times": times.tolist()}, wrote=paths, next=[page_command(arguments.run)])


def _write_mesh(arguments: ExportArguments, scene: Scene, times: Float[Tensor, " T"]) -> Outcome:
    if not (times.diff() > 0).all():
        raise ValueError(f"--times must rise for a mesh, got {times.tolist()}. Sort them.")
    claim([arguments.output], force=arguments.force)
    mesh = animate_mesh(scene, renderer_for(scene.device), times, MeshConfig(arguments.resolution))
    vertices = transform_points(inverse_similarity(_outer_world(arguments, scene)), mesh.vertices)
    seconds = (mesh.times - mesh.times[0]) * scene.clip.duration
    write_animated_glb(arguments.output, vertices, mesh.triangles, mesh.colors, seconds)
    return Outcome(
        f"{len(mesh.triangles)} triangles, {len(times)} times",
        {"triangles": len(mesh.triangles), "times": times.tolist()},
        [arguments.output],
        [page_command(arguments.run)],
    )


def _write_page(arguments: ExportArguments, scene: Scene, times: Float[Tensor, " T"]) -> Outcome:
    """The whole object as a page, seen from the front at first, as in the run's videos."""
    path = arguments.output
    claim([path], force=arguments.force)
    baked = bake_at(scene, times)
    title = arguments.run.resolve().name
    write_html(baked, path, distance=viewing_distance(baked), fovy_deg=FOVY_DEG, title=title)
    return written_page(path)


def _outer_world(arguments: ExportArguments, scene: Scene) -> Similarity:
    """From the files' world to the inner one."""
    usual = "y" if arguments.format in _UPRIGHT else None
    return set_up_axis(scene.world, usual if arguments.up is None else arguments.up)
