"""`ds4d views`: further views of a video, as a folder that can be looked at and fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.outcome import Outcome, ds4d_command
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.cli.video_options import VideoOptions, ViewsOptions
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, choose_device
from ds4d.data import write_views
from ds4d.pipeline import read_input
from ds4d.types import GeneratedViews


@dataclass(frozen=True)
class ViewsArguments(ScreenOptions):
    """Makes the further views that a video is fitted with, and writes them as a folder that ds4d generate reads.

    Look at contact_sheet.png in it: the fitted object will be as good as these views.

    Attributes:
        input: a video file or a folder of numbered images, of one object; or a folder of views, of whose front view
            new ones are made.
        output: folder of the views, new or empty.
        device: where to work; auto takes CUDA where it can be used.
        seed: of every random draw.
        views: where the views come from.
        video: how a video is read and cut out.
    """

    input: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    device: DeviceName = "auto"
    seed: int = 0
    views: Annotated[ViewsOptions, tyro.conf.arg(name="")] = field(default_factory=ViewsOptions)
    video: Annotated[VideoOptions, tyro.conf.arg(name="")] = field(default_factory=VideoOptions)


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    asked = tyro.cli(ViewsArguments, args=list(words), prog="ds4d views", config=(tyro.conf.AvoidSubcommands,))
    config = GenerateConfig(
        views=asked.views.settings(),
        video=asked.video.settings(),
        seed=asked.seed,
    )
    clip = read_input(asked.input, config, choose_device(asked.device))
    write_views(GeneratedViews(clip.video, clip.points), asked.output, made_by=clip.description)
    return Outcome(
        f"views: {clip.description}; look at contact_sheet.png",
        {"views": clip.video.num_views, "frames": clip.video.num_times, "made_by": clip.description},
        [asked.output],
        [ds4d_command("generate", asked.output, "-o", "run")],
    )
