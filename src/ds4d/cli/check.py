"""`ds4d check`: whether a film is fit for use, and what will be seen of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.generate import PresetName, usual_preset
from ds4d.device import choose_device
from ds4d.imaging import write_png
from ds4d.prediction import predict_run
from ds4d.presets import PRESETS
from ds4d.video import Inspection, VideoConfig, draw_inspection, inspect_video

_SHEET = "check.png"
_VIEWS = 7  # the film and the six views that generators make of each of its frames


@dataclass(frozen=True)
class CheckArguments:
    """Looks at a film before anything is made of it: says what is wrong with it, and how to mend that.

    Attributes:
        input: a video file, or a folder of numbered pictures.
        preset: the settings that time and memory are predicted for; those that `ds4d generate` would take if left out.
        output: folder for check.png, the frames with their cut-outs; none is written if left out.
        video: how the film is read, cut out and framed.
    """

    input: tyro.conf.Positional[Path]
    preset: PresetName | None = None
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    video: Annotated[VideoConfig, tyro.conf.arg(name="")] = field(default_factory=VideoConfig)


def run(words: Sequence[str]) -> int:
    """The command; returns the exit status: 0 fit for use, 2 not."""
    arguments = tyro.cli(CheckArguments, args=list(words), prog="ds4d check")
    inspection = inspect_video(arguments.input, arguments.video)
    print("\n".join([*_lines(inspection), _prediction(inspection, arguments.preset or usual_preset(None))]))
    if arguments.output is not None:
        write_png(arguments.output / _SHEET, draw_inspection(inspection))
        print(f"wrote {arguments.output / _SHEET}")
    return 0 if inspection.is_fit else 2


def _lines(inspection: Inspection) -> Iterator[str]:
    film, framing = inspection.evidence.film, inspection.evidence.framing
    yield (
        f"film: {film.film_frames} frames of {film.size.width} x {film.size.height}; {len(film.pictures)} used, "
        f"{film.fps:.3g} per second, from {film.seconds[0]:.2f} s to {film.seconds[-1]:.2f} s"
    )
    ways = {"alpha": "the film's alpha", "color": "the plain background's colour", "model": "the matting model"}
    yield f"cut out by {ways[inspection.evidence.cut.way]}"
    if framing is not None:
        yield f"framed: the square of {framing.side} pixels at ({framing.left}, {framing.top}), shown at {framing.size}"
    for finding in inspection.findings:
        yield f"{finding.severity}: {finding}"
    if not inspection.findings:
        yield "nothing wrong was found"


def _prediction(inspection: Inspection, preset: PresetName) -> str:
    device = choose_device("auto")
    frames = len(inspection.evidence.seconds)
    forecast = predict_run(frames, _VIEWS, PRESETS[preset](), device)
    return f"a run with the preset {preset} on {device.type} takes {forecast}"
