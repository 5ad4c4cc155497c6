"""`ds4d multiview`: generates the training views of a video, as a folder that ds4d generate reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine
from ds4d.cli.checks import check_local, check_new_folder
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, ds4d_command, open_in_browser
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, choose_device
from ds4d.data import write_views
from ds4d.multiview import ViewsConfig
from ds4d.pipeline import read_input
from ds4d.preprocess import VideoConfig
from ds4d.types import GeneratedViews


@dataclass(frozen=True)
class MultiviewArguments:
    """Generates training views of a video and writes them as a folder that ds4d generate reads.

    Check contact_sheet.png in that folder before fitting: a fit is at most as good as its views.

    Attributes:
        input: video file or folder of numbered images that show one object; or folder of multi-view frames, from whose
            input view new views are generated.
        output: folder for the views, new or empty.
        device: compute device; auto uses CUDA if it is available.
        seed: random seed.
        views: source of the training views.
        video: reading, matting and framing of the video.
    """

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    device: DeviceName = "auto"
    seed: int = 0
    views: ViewsConfig = field(default_factory=ViewsConfig)
    video: VideoConfig = field(default_factory=VideoConfig)


COMMAND = CommandLine(
    "multiview",
    MultiviewArguments,
    (
        ("multiview video.mp4 -o views", "generate views with the best generator that is installed"),
        ("multiview video.mp4 -o views --views inflate --inflate.facing 60", "inflate the masks, object at an angle"),
        ("multiview video.mp4 -o views --views flipbook --flipbook shapes", "use one 3D file per frame"),
        ("multiview video.mp4 -o views --views zero123plus --elevation 20", "use Zero123++, camera 20 degrees up"),
    ),
    basic=frozenset(
        {
            "input", "output", "device", "seed", "views.source", "views.elevation", "views.fovy",
            "views.size", "views.fps", "video.start", "video.end", "video.frames", "video.matting",
            "video.matting_model", "video.keep", "views.generators.inflate.facing", "views.generators.flipbook.files",
        }
    ),
    renamed={"views.source": "views", "views.generators.flipbook.files": "--flipbook"},
    flat=frozenset({"views", "views.generators", "video"}),
    fixed=frozenset({"video.size", "video.fps", "video.cameras"}),
)  # fmt: skip


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    check_local(arguments.input)
    check_new_folder(arguments.output)
    config = GenerateConfig(
        views=arguments.views,
        video=arguments.video,
        seed=arguments.seed,
    )
    training_input = read_input(arguments.input, config, choose_device(arguments.device))
    video, description = training_input.video, training_input.description
    write_views(GeneratedViews(video, training_input.points), arguments.output, made_by=description)
    return Outcome(
        f"views: {description}",
        {"views": video.num_views, "frames": video.num_times, "made_by": description},
        [arguments.output],
        [
            open_in_browser(arguments.output / "contact_sheet.png"),
            ds4d_command("generate", arguments.output, "-o", "run"),
        ],
    )
