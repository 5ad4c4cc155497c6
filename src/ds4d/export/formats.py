"""The export formats by name, and the export of a scene in one of them.

A new exporter is one file with its writer and one line in `FORMATS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
from ds4d.export.compressed_ply import write_compressed_ply
from ds4d.export.fourdgs import write_fourdgs
from ds4d.export.gltf import write_gltf
from ds4d.export.html import write_html
from ds4d.export.manifest import MANIFEST, describe_sequence, frame_rate, write_manifest
from ds4d.export.mesh import write_mesh
from ds4d.export.ply import write_ply
from ds4d.export.programs import PROGRAMS
from ds4d.export.splat import write_splat
from ds4d.export.splat4d import write_splat4d
from ds4d.export.spz_sog import write_sog, write_spz
from ds4d.export.tracks import write_tracks
from ds4d.export.usd import write_usd
from ds4d.geometry import UpAxis, mirror_z, roll_over, set_up_axis, to_world
from ds4d.scene import Scene
from ds4d.types import Similarity

_FOLDER_FORMAT = "ply"  # of a path without an ending


@dataclass(frozen=True)
class ExportFormat:
    """A file format for scenes.

    Attributes:
        write: `write(gaussians, path, **options)` for one file per frame, with the raw Gaussians of the frame in the
            output world; `write(scene, path, times, **options)` for one file with all times.
        endings: file name endings, the usual one first.
        per_frame: whether each time gets a file of its own.
        about: what the format is, in a few words, for the help of `ds4d export`.
        options: names of the options that `write` takes.
        up: up axis of the output world by default; None keeps that of the input.
        comments: whether `write` takes `comments`: lines that say which frame a file holds.
        same_rows: whether row i of all files of a sequence is the same Gaussian; `write` sorts where it is not.
    """

    write: Callable[..., None]
    endings: tuple[str, ...]
    per_frame: bool
    about: str
    options: tuple[str, ...] = ()
    up: UpAxis | None = None
    comments: bool = False
    same_rows: bool = True

    @property
    def accepted_options(self) -> tuple[str, ...]:
        """The options of an export in this format; Gaussians of single frames are turned before `write` gets them."""
        return ("up", *self.options) if self.per_frame else self.options

    def matches(self, path: Path) -> bool:
        """Whether the name of a file has one of the endings."""
        return path.name.lower().endswith(self.endings)


FORMATS = {
    "ply": ExportFormat(
        write_ply,
        (".ply",),
        per_frame=True,
        about="3D Gaussian Splatting",
        options=("sh_degree",),
        comments=True,
    ),
    "compressed-ply": ExportFormat(
        write_compressed_ply, (".compressed.ply",), per_frame=True, about="PlayCanvas", same_rows=False
    ),
    "splat": ExportFormat(write_splat, (".splat",), per_frame=True, about="32 bytes per Gaussian", same_rows=False),
    "spz": ExportFormat(write_spz, (".spz",), per_frame=True, about="compact, Niantic", up="y"),
    "sog": ExportFormat(write_sog, (".sog",), per_frame=True, about="compact, PlayCanvas", same_rows=False),
    "gltf": ExportFormat(
        write_gltf, (".glb",), per_frame=True, about="binary glTF with KHR_gaussian_splatting", up="y"
    ),
    "mesh": ExportFormat(
        write_mesh,
        (".glb",),
        per_frame=False,
        about="animated triangle mesh, binary glTF",
        options=("up", "resolution", "texture", "skeleton"),
        up="y",
    ),
    "usd": ExportFormat(
        write_usd,
        (".usdc", ".usdz", ".usda"),
        per_frame=False,
        about="animated OpenUSD with ParticleField3DGaussianSplat",
        options=("up",),
        up="y",
    ),
    "splat4d": ExportFormat(
        write_splat4d,
        (".splat4d",),
        per_frame=False,
        about="animated Gaussians within error bounds, one small file",
        options=("up",),
    ),
    "4dgs": ExportFormat(
        write_fourdgs,
        (".4dgs",),
        per_frame=False,
        about="keyframes and changes of Gaussians with identities, one file",
        options=("up",),
        up="y",
    ),
    "tracks": ExportFormat(
        write_tracks,
        (".npz",),
        per_frame=False,
        about="paths of surface points, NumPy",
        options=("up", "points", "resolution"),
    ),
    "html": ExportFormat(
        write_html,
        (".html", ".htm"),
        per_frame=False,
        about="web page that plays the object, without server or network",
    ),
}


def infer_format(path: Path) -> str:
    """The name of the format that the ending of a path stands for; `ply` for a folder, a path without an ending.

    Raises:
        ValueError: no format has this ending.
    """
    # The longest ending decides (.compressed.ply is not .ply), then one file with all times (.glb is a mesh).
    fitting = [
        (len(ending), not entry.per_frame, name)
        for name, entry in FORMATS.items()
        for ending in entry.endings
        if path.name.lower().endswith(ending)
    ]
    if fitting:
        return max(fitting)[-1]
    if path.suffix:
        endings = dict.fromkeys(ending for entry in FORMATS.values() for ending in entry.endings)
        raise ValueError(
            f"output {path} must end in {', '.join(endings)}, or have no ending for a folder of numbered files. "
            "Rename it, or name the format."
        )
    return _FOLDER_FORMAT


def choose_format(path: Path, format: str | None, program: str | None) -> str:
    """The name of the format to write.

    Args:
        path: the file or folder.
        format: name of the format; None if the path or the program decides.
        program: a key of `PROGRAMS`, or None.

    Raises:
        ValueError: the program is unknown, or does not read the format, or no format has the ending of the path.
    """
    if program is None:
        return infer_format(path) if format is None else format
    if program not in PROGRAMS:
        raise ValueError(f"program must be one of {', '.join(PROGRAMS)}, got {program!r}.")
    formats = PROGRAMS[program].formats
    fitting = [name for name in formats if FORMATS[name].matches(path)]
    inferred = max(fitting, key=lambda name: len(FORMATS[name].endings[0]), default=None)
    name = format or inferred or (infer_format(path) if path.suffix else formats[0])
    if name not in formats:
        raise ValueError(
            f"format for {program} must be {' or '.join(formats)}, got {name}. Rename {path}, or leave it out."
        )
    return name


def export_paths(path: Path, name: str, count: int) -> list[Path]:
    """The files that an export writes; those of a folder end with its manifest.

    Args:
        path: the file, or the folder of numbered files.
        name: name of the format, a key of `FORMATS`.
        count: number of times.

    Raises:
        ValueError: the format is unknown, or the path does not fit it.
    """
    entry = _look_up(name)
    others = {ending for other in FORMATS.values() for ending in other.endings} - set(entry.endings)
    if not entry.matches(path) and (not entry.per_frame or path.name.lower().endswith(tuple(others))):
        folder = ", or name a folder" if entry.per_frame else ""
        raise ValueError(
            f"output {path} must end in {' or '.join(entry.endings)} for the format {name}. Rename it{folder}."
        )
    if not entry.per_frame:
        return [path]
    if not entry.matches(path):
        return [*(path / f"frame{index + 1:04d}{entry.endings[0]}" for index in range(count)), path / MANIFEST]
    if count != 1:
        raise ValueError(
            f"output {path} must be a folder for {count} times: each gets a file. Name a folder, or give one time."
        )
    return [path]


def export_scene(
    scene: Scene,
    path: str | Path,
    format: str | None = None,
    *,
    program: str | None = None,
    times: Float[Tensor, " T"] | Iterable[float] | None = None,
    **options: Any,
) -> list[Path]:
    """Writes a scene in one of `FORMATS`; files that exist are replaced.

    Args:
        scene: the scene; a `LoopedScene` is written as it loops.
        path: the file, or a folder for the numbered files frame0001, frame0002, ... of a format with a file per frame,
            and their manifest (see `ds4d.export.manifest`).
        format: name of the format, a key of `FORMATS`; by default that of the ending of `path` (see `infer_format`).
        program: the program to write for, a key of `PROGRAMS`, which decides the format of a path without an ending,
            the axes and the degree of the spherical harmonics.
        times: times to write, in [0, 1]; by default those of the video frames.
        options: options of the format (see `ExportFormat.accepted_options`); None stands for their defaults.

    Returns:
        The files written.

    Raises:
        ValueError: the format or an option is unknown, or the path or the times do not fit the format.
    """
    path = Path(path)
    name = choose_format(path, format, program)
    entry, given = _look_up(name), {key: value for key, value in options.items() if value is not None}
    for key in given.keys() - set(entry.accepted_options):
        accepted = ", ".join(entry.accepted_options) or "no options"
        raise ValueError(f"{key} must not be given with the format {name}, which takes {accepted}. Leave it out.")
    times = _checked(scene.timeline.times if times is None else times)
    paths = export_paths(path, name, len(times))
    if "up" in entry.accepted_options:
        given.setdefault("up", entry.up if program is None else "y")
    if program is not None and "sh_degree" in entry.options:
        given.setdefault("sh_degree", PROGRAMS[program].sh_degree)
    if entry.per_frame:
        up, axes = given.pop("up"), None if program is None else PROGRAMS[program].axes
        world = roll_over(scene.world) if axes == "rolled" else set_up_axis(scene.world, up)
        mirrored = axes == "mirrored"
        files = paths[: len(times)]
        count = _write_frames(scene, files, times, entry, world, mirrored=mirrored, **given)
        for manifest in paths[len(times) :]:
            content = describe_sequence(
                name,
                files,
                times,
                scene.timeline,
                world,
                gaussians=count,
                same_rows=entry.same_rows,
                mirrored=mirrored,
            )
            write_manifest(manifest, content)
    else:
        if not (times.diff() > 0).all():
            raise ValueError(f"times must rise for the format {name}, got {times.tolist()}. Sort them.")
        entry.write(scene, paths[0], times, **given)
    return paths


def _write_frames(
    scene: Scene,
    paths: list[Path],
    times: Float[Tensor, " T"],
    entry: ExportFormat,
    world: Similarity,
    *,
    mirrored: bool,
    **options: Any,
) -> int:
    """Writes one file per time in the given world, z negated if it is mirrored; returns the number of Gaussians."""
    seconds = times * scene.timeline.duration
    rate, count = frame_rate(seconds), 0
    fps = () if rate is None else (f"fps {rate:.6g}",)
    for index, (path, time) in enumerate(
        zip(tracked(paths, f"writing {entry.endings[0]}"), times.split(1), strict=True)
    ):
        if entry.comments:
            options["comments"] = (f"frame {index + 1} of {len(paths)}", f"seconds {float(seconds[index]):.6f}", *fps)
        with torch.no_grad():
            raw = to_world(scene.raw_at(time.to(scene.device)).at_time(0), world)
            raw = mirror_z(raw) if mirrored else raw
        entry.write(raw, path, **options)
        count = raw.num_gaussians
    return count


def _look_up(name: str) -> ExportFormat:
    if name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {name!r}.")
    return FORMATS[name]


def _checked(times: Float[Tensor, " T"] | Iterable[float]) -> Float[Tensor, " T"]:
    times = torch.as_tensor(times if isinstance(times, Tensor) else list(times), dtype=torch.float32).cpu()
    if times.ndim != 1 or len(times) == 0 or not ((times >= 0) & (times <= 1)).all():
        raise ValueError(f"times must be at least one number in [0, 1], got {times.tolist()}.")
    return times
