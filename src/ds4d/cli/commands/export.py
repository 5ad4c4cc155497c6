"""`ds4d export`: writes a run in formats that other programs read, or as a web page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from ds4d.cli.arguments import CommandLine, Flag, RunPath
from ds4d.cli.checks import check_output, check_overwrite, check_times, frame_paths, refuse_set, remove_stale
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, export_page_command, page_outcome
from ds4d.cli.scenes import load_scene, with_jump
from ds4d.core import DeviceName, choose_device
from ds4d.export import FORMATS, PROGRAMS, choose_format, export_paths, export_scene, read_skinning_error
from ds4d.geometry import UpAxis, frame_times
from ds4d.scene import LoopedScene, Scene

if TYPE_CHECKING:
    FormatName = ProgramName = str
else:
    ProgramName = tyro.extras.literal_type_from_choices(PROGRAMS)
    FormatName = tyro.extras.literal_type_from_choices(FORMATS)

# Options that only some formats take.
_OPTIONS = tuple(dict.fromkeys(option for entry in FORMATS.values() for option in entry.accepted_options))
_FORMATS_HELP = (
    f"file format: {', '.join(f'{name} ({entry.about})' for name, entry in FORMATS.items())}; by default that of the "
    "output's ending, or ply."
)
_PROGRAMS_HELP = (
    "program that will read the files, which decides axes and harmonics, and the format if the output has no ending: "
    f"{', '.join(f'{name} ({program.about})' for name, program in PROGRAMS.items())}."
)


@dataclass(frozen=True)
class ExportArguments:
    """Exports a run: one file per time, or one file for the whole clip.

    Attributes:
        run: folder of the run.
        output: file whose ending chooses the format (.glb is a mesh), or folder for the numbered files frame0001 and so
            on of a format with one file per time.
        format: name of the file format.
        program: the program that will read the files.
        times: times to export, in [0, 1] from the first frame to the last.
        frames: number of times to export, evenly spaced from 0 to 1, in place of --times. A mesh or a page plays for
            the duration of the clip whatever their number.
        loop: blend the end of the clip into its start.
        up: up axis of the exported files, for example z for Blender; by default the input's, but y for gltf and mesh.
            Not for html.
        sh_degree: degree of the spherical harmonics in a ply, 0 to 3, padded with zeros where the fit has fewer; by
            default the fit's, or what --for needs.
        resolution: number of grid cells along the longest side of the object, for mesh and tracks; by default 96.
        texture: height and width in pixels of a texture in place of vertex colors, for mesh; needs the extra texture.
        skeleton: number of bones that move the mesh in place of free vertices, 1 to 64; 8 to 24 suit most.
        points: number of surface points, for tracks; by default 1024.
        force: replace existing files.
        device: compute device; auto uses CUDA if it is available.
    """

    run: RunPath
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    format: Annotated[FormatName | None, tyro.conf.arg(help=_FORMATS_HELP)] = None
    program: Annotated[ProgramName | None, tyro.conf.arg(help=_PROGRAMS_HELP)] = None
    times: Annotated[
        tuple[float, ...] | None, tyro.conf.arg(help_behavior_hint="(default: those of the clip's frames)")
    ] = None
    frames: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the clip's frames)")] = None
    loop: Flag = False
    up: UpAxis | None = None
    sh_degree: int | None = None
    resolution: int | None = None
    texture: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    skeleton: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    points: int | None = None
    force: Flag = False
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "export",
    ExportArguments,
    (
        ("export run -o run.html", "a web page that plays the object"),
        ("export run --for blender --skeleton 16 -o run.glb", "an animated mesh for Blender, moved by bones"),
        ("export run --for supersplat -o frames", "a numbered sequence, upright in SuperSplat"),
        ("export run --times 0 0.5 1 -o plys", "PLY files at three times"),
    ),
    renamed={"program": "for"},
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    if arguments.times is not None and arguments.frames is not None:
        raise ValueError("--frames must not be given with --times. Leave one out.")
    name = choose_format(arguments.output, arguments.format, arguments.program)
    if arguments.program is not None:
        refuse_set(arguments, ["up"], "--for")
    refuse_set(
        arguments, [option for option in _OPTIONS if option not in FORMATS[name].accepted_options], f"--format {name}"
    )
    check_output(arguments.output, is_folder=FORMATS[name].per_frame and not FORMATS[name].matches(arguments.output))
    # The run tells how many times there are where no option does; a wrong ending and existing files show without it.
    _paths(arguments, name, _count(arguments) or 1)
    scene = load_scene(arguments.run, choose_device(arguments.device))
    outcome = _export(arguments, name, LoopedScene(scene) if arguments.loop else scene)
    return with_jump(outcome, scene) if arguments.loop else outcome


def _export(arguments: ExportArguments, name: str, scene: Scene) -> Outcome:
    times = _times(arguments, scene)
    paths = _paths(arguments, name, len(times))
    options = {option: getattr(arguments, option) for option in _OPTIONS}
    export_scene(scene, arguments.output, name, program=arguments.program, times=times, **options)
    if paths[0] != arguments.output:
        remove_stale(paths)
    if name == "html":
        return page_outcome(arguments.output)
    text, result = "", dict[str, Any](times=times.tolist())
    if arguments.skeleton is not None:
        error = read_skinning_error(arguments.output)
        result["skeleton"] = asdict(error)
        text = (
            f"{error.bones} bones move the vertices, {100 * error.mean:.2f} % of the object's diagonal from where they "
            f"were without bones on average, {100 * error.largest:.1f} % at most"
        )
    return Outcome(text, result, paths, [export_page_command(arguments.run)])


def _paths(arguments: ExportArguments, name: str, count: int) -> list[Path]:
    """The files of an export with this number of times, which may be written.

    Raises:
        ValueError: the output does not fit the format, or files exist and --force is not given.
    """
    paths = export_paths(arguments.output, name, count)
    if paths[0] == arguments.output:
        check_overwrite(paths, force=arguments.force)
    else:
        frame_paths(arguments.output, FORMATS[name].endings[0], count, force=arguments.force)
        check_overwrite(paths[count:], force=arguments.force)
    return paths


def _count(arguments: ExportArguments) -> int | None:
    """The number of times that the options name, which are checked; None if it is that of the clip's frames."""
    if arguments.frames is not None:
        if arguments.frames < 1:
            raise ValueError(f"--frames must be at least 1, got {arguments.frames}.")
        return arguments.frames
    if arguments.times is None:
        return None
    if len(arguments.times) == 0:
        raise ValueError("--times must name at least one time, got none.")
    check_times("times", arguments.times)
    return len(arguments.times)


def _times(arguments: ExportArguments, scene: Scene) -> Float[Tensor, " T"]:
    if arguments.frames is not None:
        return frame_times(arguments.frames)
    return torch.tensor(scene.timeline.times if arguments.times is None else arguments.times)
