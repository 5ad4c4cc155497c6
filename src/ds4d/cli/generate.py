"""`ds4d generate`: a video or multi-view frames in, a 4D object out."""

import argparse
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import tyro

from ds4d.cli.exit_codes import ExitCode
from ds4d.cli.interruption import StopSignals
from ds4d.cli.outcome import Outcome, ds4d_command, page_command
from ds4d.cli.run_events import show
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.cli.video_options import VideoOptions, ViewsOptions
from ds4d.cli.watching import watched
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, choose_device, to_dict
from ds4d.decoupling import DecouplingConfig
from ds4d.deformation import FieldConfig
from ds4d.features import FeaturesConfig
from ds4d.fusion import FusionConfig
from ds4d.guidance import GuidanceConfig
from ds4d.init import InitConfig
from ds4d.pipeline import Event, FileWritten, Finished, iter_run
from ds4d.presets import PRESETS
from ds4d.runs import RunFolder, RunMetrics, read_record
from ds4d.training import LogConfig, TrainingConfig
from ds4d.visualize import OutputsConfig

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]


@dataclass(frozen=True)
class Request:
    """What the command is asked to do.

    Attributes:
        input: the video, or the folder of views.
        output: folder of the run.
        settings: what decides the result.
        device: where to work.
        resume: whether the run in the output folder goes on.
        viewer: whether the fit is shown in browsers.
    """

    input: Path
    output: Path
    settings: GenerateConfig
    device: DeviceName
    resume: bool
    viewer: bool


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    asked, wrote = parse(words), list[Path]()
    with StopSignals(screen.say) as stop, watched(asked.viewer, screen) as watch:
        events = iter_run(asked.input, asked.output, config=asked.settings, device=asked.device, resume=asked.resume)
        last = None
        for last in events:
            show(last, screen)
            watch(last)
            if isinstance(last, FileWritten):
                wrote.append(last.path)
            if stop.received and not isinstance(last, Finished):
                _close(events)
                break
    if isinstance(last, Finished):
        return _finished(asked.output, last.metrics, wrote)
    assert stop.received is not None
    return _stopped(asked.output, words, stop.received, wrote)


def parse(words: Sequence[str]) -> Request:
    """What the words ask for, over the settings of the preset or run that they name.

    Raises:
        SystemExit: an option is unknown or unfit, or help is asked for.
        ValueError: the named settings cannot be used.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--config", "--device"):
        early.add_argument(name)
    try:
        chosen, _ = early.parse_known_args(words)
    except argparse.ArgumentError:  # an option without its value, which is refused below, too
        chosen = early.parse_args([])
    if chosen.preset and chosen.config:
        raise ValueError(f"--config must stand alone, got --preset {chosen.preset} as well. Leave one of them out.")
    if chosen.config:
        settings = read_record(Path(chosen.config)).config
    else:
        # A name that is none is refused below, with the names there are.
        settings = PRESETS.get(chosen.preset, PRESETS[usual_preset(chosen.device)])()
    command = _command(settings)
    return tyro.cli(command, args=list(words), prog="ds4d generate", config=(tyro.conf.AvoidSubcommands,))


def _command(settings: GenerateConfig) -> Callable[..., Request]:
    """The command as a function whose defaults are these settings."""
    input_video, input_views = VideoOptions.of(settings.video), ViewsOptions.of(settings.views)
    usual_fusion = settings.fusion or FusionConfig()

    def command(
        input: tyro.conf.Positional[Path],
        output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="RUN")],
        screen: Annotated[ScreenOptions, tyro.conf.arg(name="")],  # for the help alone: main has read it
        preset: PresetName | None = None,
        config: Path | None = None,
        device: DeviceName = "auto",
        resume: bool = False,
        viewer: bool = False,
        seed: int = settings.seed,
        checkpoint_every: int = settings.checkpoint_every,
        shape: Annotated[Path | None, tyro.conf.arg(name="init", metavar="MESH")] = None,
        views: Annotated[ViewsOptions, tyro.conf.arg(name="")] = input_views,
        video: Annotated[VideoOptions, tyro.conf.arg(name="")] = input_video,
        init: InitConfig = settings.init,
        features: FeaturesConfig = settings.features,
        decoupling: DecouplingConfig = settings.decoupling,
        fused: Annotated[bool, tyro.conf.arg(name="fusion")] = settings.fusion is not None,
        fusion: FusionConfig = usual_fusion,
        field: FieldConfig | None = settings.field,
        training: TrainingConfig = settings.training,
        guidance: GuidanceConfig = settings.guidance,
        outputs: OutputsConfig = settings.outputs,
        log: LogConfig = settings.log,
    ) -> Request:
        """Makes a 4D object of a video, or of multi-view frames, and shows it from all sides.

        Args:
            input: a video file or a folder of numbered images, of one object; or a folder of multi-view frames: ref/
                and zero123/ (STAG4D's layout, as ds4d views writes it), or transforms_<split>.json with their images
                (D-NeRF, Blender).
            output: folder of the run: new or empty, except with --resume.
            screen: how the command speaks.
            preset: settings to start from; the options below change them one by one. fast on CUDA, else cpu, if not
                given.
            config: settings of an earlier run to start from, its config.json, in place of a preset.
            device: where to work; auto takes CUDA where it can be used.
            resume: go on with the run in the output folder, which was started with the same input and settings.
            viewer: show the object in browsers on this machine while it is fitted; its address is printed.
            seed: of every random draw.
            checkpoint_every: steps from one checkpoint to the next.
            shape: mesh or point cloud (PLY, OBJ, GLB) of the object in the clip's middle frame to begin with, in any
                world, size and direction; short for --init.method mesh --init.file MESH.
            views: where the views come from, and how folders of views are read.
            video: how a video is read and cut out.
            init: the first Gaussians.
            features: what is seen in every frame.
            decoupling: of the features into what stays and what moves (DSFD).
            fused: bring frame features onto the Gaussians; --no-fusion lets the HexPlane alone move them.
            fusion: of the views' features on the Gaussians (TSSF).
            field: what moves the Gaussians.
            training: training schedule, losses and densification.
            guidance: what a diffusion model (Zero123-XL) thinks of sides that no view shows.
            outputs: images and videos.
            log: of the losses.
        """
        if not fused and fusion != usual_fusion:
            raise ValueError("--fusion.* must not be given where nothing is fused. Add --fusion, or leave them out.")
        if shape is not None:
            init = replace(init, method="mesh", file=shape)
        changed = GenerateConfig(
            views.settings(),
            video.settings(),
            init,
            features,
            decoupling,
            fusion if fused else None,
            field,
            training,
            guidance,
            outputs,
            log,
            seed,
            checkpoint_every,
        )
        return Request(input, output, changed, device, resume, viewer)

    return command


def usual_preset(device: str | None) -> PresetName:
    """The preset that suits the device of this name; auto if None."""
    name = cast(DeviceName, device if device in ("cpu", "auto") else "auto")
    return "fast" if choose_device(name).type == "cuda" else "cpu"


def _close(events: Iterator[Event]) -> None:
    """Interrupts the run; the pipeline leaves a checkpoint if the fit had begun."""
    cast(Any, events).close()


def _finished(output: Path, metrics: RunMetrics, wrote: Sequence[Path]) -> Outcome:
    text = (
        f"front view {metrics.input_psnr:.1f} dB, all training views {metrics.training_psnr:.1f} dB, "
        f"{metrics.num_gaussians} Gaussians, {sum(metrics.seconds.values()):.0f} s on {metrics.device}"
    )
    return Outcome(text, to_dict(metrics), wrote, [ds4d_command("view", output), page_command(output)])


def _stopped(output: Path, words: Sequence[str], number: signal.Signals, wrote: Sequence[Path]) -> Outcome:
    code, begun = ExitCode(128 + number), RunFolder(output).config.is_file()
    again = ["generate", *(word for word in words if word != "--resume"), *["--resume"] * begun]
    saved = "what was fitted is saved" if begun else "the fit had not begun, and nothing is saved"
    error = f"stopped by {number.name}; {saved}."
    return Outcome(wrote=wrote, next=[ds4d_command(*again)], error=error, exit_code=code)
