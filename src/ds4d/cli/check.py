"""`ds4d check`: whether a video is fit for use, and what will be seen of it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ds4d.cli.exit_codes import ExitCode
from ds4d.cli.generate import PresetName, usual_preset
from ds4d.cli.outcome import Outcome, ds4d_command
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.core import choose_device
from ds4d.io import write_png
from ds4d.preprocess import Inspection, VideoConfig, inspect_video, make_mask_sheet
from ds4d.presets import PRESETS
from ds4d.runs import Prediction, predict_run

_SHEET = "check.png"
_VIEWS = 7  # the video and the six views that generators make of each of its frames


@dataclass(frozen=True)
class CheckArguments(ScreenOptions):
    """Looks at a video before anything is made of it: says what is wrong with it, and how to mend that.

    Attributes:
        input: a video file, or a folder of numbered images.
        preset: the settings that time and memory are predicted for; those that `ds4d generate` would take if left out.
        output: folder for check.png, the frames with their cut-outs; none is written if left out.
        video: how the video is read, cut out and framed.
    """

    input: tyro.conf.Positional[Path]
    preset: PresetName | None = None
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    video: Annotated[VideoConfig, tyro.conf.arg(name="")] = field(default_factory=VideoConfig)


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command; a video that is not fit for use is refused."""
    arguments = tyro.cli(CheckArguments, args=list(words), prog="ds4d check")
    inspection = inspect_video(arguments.input, arguments.video)
    preset, device = arguments.preset or usual_preset(None), choose_device("auto")
    forecast = predict_run(len(inspection.context.seconds), _VIEWS, PRESETS[preset](), device)
    said = f"a run with the preset {preset} on {device.type} takes {forecast}"
    wrote = []
    if arguments.output is not None:
        wrote.append(arguments.output / _SHEET)
        write_png(wrote[0], make_mask_sheet(inspection))
    outcome = Outcome("\n".join([*_lines(inspection), said]), _result(inspection, forecast), wrote)
    if inspection.is_usable:
        return replace(outcome, next=[ds4d_command("generate", arguments.input, "-o", "run", *_options(arguments))])
    return replace(outcome, error=f"{arguments.input} is not fit for use.", exit_code=ExitCode.REFUSED)


def _options(arguments: CheckArguments) -> Iterator[str]:
    """What was asked for besides the video, in the words of `ds4d generate`."""
    if arguments.preset is not None:
        yield from ("--preset", arguments.preset)
    for option in fields(VideoConfig):
        value = getattr(arguments.video, option.name)
        if value != option.default:
            yield from (f"--{option.name.replace('_', '-')}", str(value))


def _lines(inspection: Inspection) -> Iterator[str]:
    video, crop = inspection.context.video, inspection.context.crop
    yield (
        f"video: {video.source_frames} frames of {video.size.width} x {video.size.height}; {len(video.seconds)} used, "
        f"{video.fps:.3g} per second, from {video.seconds[0]:.2f} s to {video.seconds[-1]:.2f} s"
    )
    ways = {"alpha": "the video's alpha", "color": "the plain background's color", "model": "the matting model"}
    yield f"cut out by {ways[inspection.context.mattes.method]}"
    if crop is not None:
        yield f"crop: the square of {crop.side} pixels at ({crop.left}, {crop.top}), resized to {crop.size}"
    for finding in inspection.findings:
        yield f"{finding.severity}: {finding}"
    if not inspection.findings:
        yield "nothing wrong was found"


def _result(inspection: Inspection, forecast: Prediction) -> dict[str, Any]:
    video = inspection.context.video
    return {
        "fit": inspection.is_usable,
        "findings": [asdict(finding) for finding in inspection.findings],
        "frames": len(video.seconds),
        "fps": video.fps,
        "matted_by": inspection.context.mattes.method,
        "predicted": asdict(forecast),
    }
