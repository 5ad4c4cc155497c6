"""`ds4d export`: a generated object as files that other programs read, or as a page that plays it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from ds4d.cli.loops import with_jump
from ds4d.cli.options import check_times, refuse_set
from ds4d.cli.outcome import Outcome, page_command, written_page
from ds4d.cli.overwriting import claim, claim_frames, leave_alone
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import DeviceName, choose_device
from ds4d.export import FORMATS, export_paths, export_scene, infer_format
from ds4d.geometry import UpAxis, frame_times
from ds4d.runs import RunFolder
from ds4d.scene import DynamicGaussians, LoopedScene, Scene

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = tyro.extras.literal_type_from_choices(FORMATS)


# Options that only some formats take.
_OPTIONS = tuple(dict.fromkeys(option for entry in FORMATS.values() for option in entry.options))


@dataclass(frozen=True)
class ExportArguments(ScreenOptions):
    """Writes a generated object as files that other programs read: numbered ones, one per time, or one for the clip.

    Attributes:
        run: folder of the run.
        output: folder of the files frame0001 and so on, or one file; its ending chooses the format (.glb is a mesh).
        format: ply: the layout of 3D Gaussian splatting. compressed-ply: PlayCanvas' packed one. splat: 32 bytes per
            Gaussian. gltf: binary glTF with KHR_gaussian_splatting. mesh: a triangle mesh that moves, as binary glTF.
            html: a page for any browser, without server or network, that plays the object. By default that of the
            output's ending, or ply for a folder.
        times: in [0, 1], from the first frame to the last; those of the clip's frames if neither they nor --frames are
            given.
        frames: so many times, evenly from 0 to 1, also between those of the clip. A mesh or a page of more frames plays
            as fast as one of fewer; numbered files, played at the clip's rate, are slower.
        loop: blend the end of the clip into its start.
        up: axis of the files' world that points up: z in Blender, -y in many viewers of splats. That of the input's
            world if not given, but y in glTF. Not for html.
        sh_degree: of a ply's colors, 0 to 3, filled up with zeros: some viewers read 3 only. The fit's own if not
            given.
        resolution: of a mesh: steps of the grid along the object, 96 if not given.
        force: replace files that are there.
        device: where to work; auto takes CUDA where it can be used.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    format: FormatName | None = None
    times: tuple[float, ...] | None = None
    frames: int | None = None
    loop: bool = False
    up: UpAxis | None = None
    sh_degree: int | None = None
    resolution: int | None = None
    force: bool = False
    device: DeviceName = "auto"


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(ExportArguments, args=list(words), prog="ds4d export")
    if arguments.times is not None and arguments.frames is not None:
        raise ValueError("--frames must not be given with --times, which says the times already. Leave one out.")
    name = infer_format(arguments.output) if arguments.format is None else arguments.format
    refuse_set(arguments, [option for option in _OPTIONS if option not in FORMATS[name].options], f"--format {name}")
    RunFolder(arguments.run).check_scene()
    scene = DynamicGaussians.load(arguments.run, choose_device(arguments.device))
    outcome = _export(arguments, name, LoopedScene(scene) if arguments.loop else scene)
    return with_jump(outcome, scene) if arguments.loop else outcome


def _export(arguments: ExportArguments, name: str, scene: Scene) -> Outcome:
    times, force = _times(arguments, scene), arguments.force
    paths = export_paths(arguments.output, name, len(times))
    numbered = paths[0] != arguments.output
    if numbered:
        claim_frames(arguments.output, FORMATS[name].endings[0], len(times), force=force)
    else:
        claim(paths, force=force)
    options = {option: getattr(arguments, option) for option in _OPTIONS}
    export_scene(scene, arguments.output, name, times=times, **options)
    if numbered:
        leave_alone(paths)
    if name == "html":
        return written_page(arguments.output)
    return Outcome(result={"times": times.tolist()}, wrote=paths, next=[page_command(arguments.run)])


def _times(arguments: ExportArguments, scene: Scene) -> Float[Tensor, " T"]:
    if arguments.frames is not None:
        return frame_times(arguments.frames)
    times = scene.timeline.times if arguments.times is None else arguments.times
    if len(times) == 0:
        raise ValueError("--times must name at least one time, got none.")
    check_times("times", times)
    return torch.tensor(times)
