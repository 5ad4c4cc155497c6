"""`ds4d check`: checks a video before anything is fitted to it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ds4d.cli.arguments import CommandLine, Flag
from ds4d.cli.checks import check_local, check_output, check_overwrite, option
from ds4d.cli.console import Console
from ds4d.cli.result import ExitCode, Outcome, ds4d_command
from ds4d.core import choose_device
from ds4d.io import write_png
from ds4d.preprocess import Inspection, VideoConfig, inspect_video, make_mask_sheet
from ds4d.presets import PRESETS, PresetName, default_preset
from ds4d.runs import Prediction, gpu_fixes, predict_run

_SHEET = "check.png"
_NUM_VIEWS = 7  # the input view and the six views that generators make of each of its frames


@dataclass(frozen=True)
class CheckArguments:
    """Checks a video: reports problems and how to fix them, and predicts time and memory of a run.

    Attributes:
        input: video file, or folder of numbered images.
        preset: preset at whose image size the video is checked, and for which time and memory are predicted; by default
            the one that ds4d generate uses.
        output: folder for check.png, a contact sheet of the frames with their mattes; by default none is written.
        force: replace an existing check.png.
        video: reading, matting and framing of the video.
    """

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")]
    preset: PresetName | None = None
    output: Annotated[
        Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR", help_behavior_hint="(default: none)")
    ] = None
    force: Flag = False
    video: VideoConfig = field(default_factory=VideoConfig)


COMMAND = CommandLine(
    "check",
    CheckArguments,
    (
        ("check video.mp4", "check a video"),
        ("check video.mp4 -o out", "write a contact sheet of the frames with their mattes"),
        ("check video.mp4 --start 2 --end 5 --preset tiny", "check three seconds, and predict a run with a preset"),
    ),
    flat=frozenset({"video"}),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command; a video with a fatal problem is an error."""
    arguments = COMMAND.parse(argv)
    device = choose_device("auto")
    preset = arguments.preset or default_preset(device)
    settings = PRESETS[preset]()
    # A mask may break, and an object be removed, at the size of the fit alone.
    start = replace(VideoConfig(), size=settings.views.size or VideoConfig.size)
    arguments = COMMAND.parse(argv, video=start)
    check_local(arguments.input)
    if arguments.output is not None:
        check_output(arguments.output, is_folder=True)
        check_overwrite([arguments.output / _SHEET], force=arguments.force)
    inspection = inspect_video(arguments.input, arguments.video)
    prediction = predict_run(len(inspection.context.seconds), _NUM_VIEWS, settings, device)
    files = []
    if arguments.output is not None:
        files.append(arguments.output / _SHEET)
        write_png(files[0], make_mask_sheet(inspection))
    lines = [*_lines(inspection), f"predicted for preset {preset} on {device.type}: {prediction}"]
    if prediction.gpu_gigabytes:
        lines += _gpu_lines(prediction.gpu_gigabytes, torch.cuda.get_device_properties(device).total_memory / 1e9)
    outcome = Outcome("\n".join(lines), _result(inspection, prediction), files)
    if inspection.is_usable:
        return replace(
            outcome, next=[ds4d_command("generate", arguments.input, "-o", "run", *_options(arguments, start))]
        )
    return replace(outcome, error=f"{arguments.input} cannot be used as it is.", exit_code=ExitCode.USAGE_ERROR)


def _options(arguments: CheckArguments, start: VideoConfig) -> Iterator[str]:
    """The options of ds4d generate that read the video as it was checked; `start` are those of the preset."""
    if arguments.preset is not None:
        yield from ("--preset", arguments.preset)
    for setting in fields(VideoConfig):
        value = getattr(arguments.video, setting.name)
        if value != getattr(start, setting.name):
            yield from (option(setting.name), str(value))


def _lines(inspection: Inspection) -> Iterator[str]:
    video, crop = inspection.context.video, inspection.context.crop
    yield (
        f"video: {video.source_frames} frames, {video.size.width} x {video.size.height}; {len(video.seconds)} used, "
        f"{video.fps:.3g} per second, from {video.seconds[0]:.2f} s to {video.seconds[-1]:.2f} s"
    )
    methods = {
        "alpha": "alpha channel",
        "color": "color of a plain background",
        "model": "matting model",
        "masks": "masks of another program",
    }
    yield f"matting: {methods[inspection.context.mattes.method]}"
    if crop is not None:
        yield f"crop: square of {crop.side} pixels at ({crop.left}, {crop.top}), resized to {crop.size}"
    for finding in inspection.findings:
        yield f"{finding.severity}: {finding}"
    if not inspection.findings:
        yield "no problems found"


def _gpu_lines(gigabytes: dict[str, float], available: float) -> Iterator[str]:
    needs = ", ".join(f"{what} {size:.1f}" for what, size in gigabytes.items())
    yield f"memory of the GPU: {available:.1f} GB, needed in turn: {needs} GB"
    yield from (f"warning: {fix}" for fix in gpu_fixes(gigabytes, available))


def _result(inspection: Inspection, prediction: Prediction) -> dict[str, Any]:
    video = inspection.context.video
    return {
        "usable": inspection.is_usable,
        "findings": [asdict(finding) for finding in inspection.findings],
        "frames": len(video.seconds),
        "fps": video.fps,
        "matted_by": inspection.context.mattes.method,
        "predicted": asdict(prediction),
    }
