"""`ds4d animate`: moves a mesh of the user like the object of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from ds4d.cli.arguments import CommandLine, Flag, RunPath
from ds4d.cli.checks import check_output, check_overwrite, check_times
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, export_page_command
from ds4d.cli.scenes import load_scene, with_jump
from ds4d.core import DeviceName, choose_device
from ds4d.export.retarget import animate_model, read_model
from ds4d.geometry import UpAxis, frame_times
from ds4d.scene import LoopedScene


@dataclass(frozen=True)
class AnimateArguments:
    """Animates a mesh of yours by the motion of a run: aligns it with the object and lets it follow the Gaussians.

    The mesh keeps its place, size, materials and textures. It should look like the object of the run, upright, in a
    pose that the object takes at some time.

    Attributes:
        mesh: GLB, glTF, OBJ or PLY file.
        run: folder of the run.
        output: the animated mesh to write (.glb).
        frames: number of times of the animation, evenly spaced; by default those of the clip's frames.
        pose_time: time in [0, 1] at which the object has the pose of the mesh; by default it is searched.
        yaw: degrees by which the mesh must be turned about the vertical axis to face the front; by default searched.
        up: up axis of the mesh file. The output is y up, as all glTF is.
        loop: blend the end of the clip into its start.
        force: replace an existing file.
        device: compute device; auto uses CUDA if it is available.
    """

    mesh: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MESH")]
    run: RunPath
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]
    frames: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the clip's frames)")] = None
    pose_time: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: searched)")] = None
    yaw: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: searched)")] = None
    up: UpAxis = "y"
    loop: Flag = False
    force: Flag = False
    device: DeviceName = "auto"


COMMAND = CommandLine(
    "animate",
    AnimateArguments,
    (
        ("animate robot.glb run -o dancing.glb", "a mesh of yours, moved like the object of the run"),
        ("animate scan.obj run -o scan.glb --up z --pose-time 0", "a z-up mesh in the pose of the first frame"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    if arguments.output.suffix.lower() != ".glb":
        raise ValueError(f"--output must end in .glb, got {arguments.output}. Rename it.")
    if arguments.frames is not None and arguments.frames < 2:
        raise ValueError(f"--frames must be at least 2, got {arguments.frames}.")
    if arguments.pose_time is not None:
        check_times("pose_time", [arguments.pose_time])
    check_output(arguments.output, is_folder=False)
    check_overwrite([arguments.output], force=arguments.force)
    model = read_model(arguments.mesh)  # a problem with the mesh shows before the run is loaded
    scene = load_scene(arguments.run, choose_device(arguments.device))
    times = torch.tensor(scene.timeline.times) if arguments.frames is None else frame_times(arguments.frames)
    alignment = animate_model(
        LoopedScene(scene) if arguments.loop else scene,
        model,
        arguments.output,
        times,
        pose_time=arguments.pose_time,
        yaw_deg=arguments.yaw,
        up=arguments.up,
    )
    text = (
        f"the mesh has the object's pose at time {alignment.time:.2f}, turned by {alignment.yaw_deg:.0f} degrees; "
        f"its surface is {100 * alignment.distance:.1f} % of the object's size off in the median"
    )
    result = {
        "pose_time": alignment.time,
        "yaw_deg": alignment.yaw_deg,
        "distance": alignment.distance,
        "scale": alignment.similarity.scale,
    }
    outcome = Outcome(text, result, [arguments.output], [export_page_command(arguments.run)])
    return with_jump(outcome, scene) if arguments.loop else outcome
