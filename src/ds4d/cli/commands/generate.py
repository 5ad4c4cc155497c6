"""`ds4d generate`: fits dynamic Gaussians to a video or to multi-view frames."""

import argparse
import signal
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from ds4d.cli.arguments import CommandLine, Flag
from ds4d.cli.checks import check_local, check_output
from ds4d.cli.console import Console
from ds4d.cli.result import ExitCode, Outcome, ds4d_command, export_page_command, open_in_browser
from ds4d.cli.run_display import live_viewer, show_event
from ds4d.cli.signals import StopSignals
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, choose_device, to_dict
from ds4d.fusion import FusionConfig
from ds4d.pipeline import FileWritten, Finished, follow, is_follower, is_under_torchrun, iter_run, join_torchrun
from ds4d.presets import PRESETS, PresetName, default_preset
from ds4d.runs import RunFolder, RunMetrics, read_record


@dataclass(frozen=True)
class GenerateArguments:
    """Fits dynamic Gaussians to a video or to multi-view frames, and renders them from all sides.

    Attributes:
        input: video file or folder of numbered images that show one object; or folder of multi-view frames: ref/ and
            zero123/ (STAG4D, ds4d multiview), or transforms_<split>.json with their images (D-NeRF, Blender).
        output: folder for the run, new or empty except with --resume.
        preset: settings to start from, which the other options change: draft (a first look), tiny (a minute), cpu, fast
            (one GPU) or paper (needs pretrained weights); by default fast on CUDA, else cpu.
        config: config.json of an earlier run to start from, in place of a preset.
        device: compute device; auto uses CUDA if it is available.
        gpus: number of GPUs of this machine that share the work of the fit; with --device cpu, number of processes
            that share its cores. For several machines, start this command by torchrun.
        resume: continue the run in the output folder, which must have been started with the same input and settings.
        allow_missing_weights: run although weights of pretrained networks are missing, as --preset paper needs them:
            views, features and losses are replaced or left out, and each is reported.
        viewer: show the fit in a browser while it runs; the address is printed.
        init_mesh: mesh or point cloud (PLY, OBJ, GLB) of the object in the middle frame from which to initialize, in
            any orientation and scale; short for --init.method mesh --init.file FILE.
        use_fusion: fuse frame features onto the Gaussians (DSFD and TSSF); with --no-fusion only the HexPlane moves
            them.
        settings: settings of the run.
    """

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="RUN")]
    preset: PresetName | None = None
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    device: DeviceName = "auto"
    gpus: int = 1
    resume: Flag = False
    allow_missing_weights: Flag = False
    viewer: Flag = False
    init_mesh: Annotated[
        Path | None, tyro.conf.arg(name="init", metavar="FILE", help_behavior_hint="(default: none)")
    ] = None
    use_fusion: Annotated[bool, tyro.conf.arg(name="fusion")] = True
    settings: GenerateConfig = field(default_factory=GenerateConfig)


COMMAND = CommandLine(
    "generate",
    GenerateArguments,
    (
        ("generate video.mp4 -o run", "fit a video with the default preset of the device"),
        ("generate video.mp4 -o run --preset tiny --start 2 --end 4 --viewer", "fit two seconds quickly, shown live"),
        ("generate views -o run --generated-weight 0.3", "fit the views that ds4d multiview has written"),
    ),
    basic=frozenset(
        {
            "input", "output", "preset", "config", "device", "resume", "allow_missing_weights", "viewer",
            "init_mesh", "use_fusion", "settings.seed", "settings.features.kind", "settings.views.source",
            "settings.views.elevation", "settings.views.splits",
            "settings.views.size", "settings.views.fps", "settings.views.generated_weight", "settings.video.start",
            "settings.video.end", "settings.video.frames", "settings.video.matting", "settings.video.keep",
            "settings.views.generators.inflate.facing", "settings.views.generators.flipbook.files",
        }
    ),
    renamed={
        "settings.views.source": "views",
        "settings.features.kind": "--features",
        "settings.windows.mode": "--windows",
        "settings.views.generators.flipbook.files": "--flipbook",
    },
    flat=frozenset({"settings", "settings.views", "settings.views.generators", "settings.video"}),
    fixed=frozenset({"settings.allow_missing_weights", "settings.video.size", "settings.video.fps"}),
)  # fmt: skip


def run(argv: Sequence[str], console: Console) -> Outcome | None:
    """Runs the command; under torchrun, the first process does, and the others take part in its fit."""
    if is_follower():
        for number in (signal.SIGINT, signal.SIGTERM):  # the first process stops all
            signal.signal(number, signal.SIG_IGN)
        follow(join_torchrun())
        return None
    arguments, written = parse(argv), list[Path]()
    check_local(arguments.input)
    check_output(arguments.output, is_folder=True)
    with StopSignals(console.print) as stop, live_viewer(arguments.viewer, console) as show_live:
        events = iter_run(
            arguments.input,
            arguments.output,
            config=arguments.settings,
            device=arguments.device,
            resume=arguments.resume,
            allow_missing_weights=arguments.allow_missing_weights,
            gpus="torchrun" if is_under_torchrun() else arguments.gpus,
        )
        last = None
        try:
            with closing(cast(Any, events)):  # which interrupts the run: a checkpoint is saved if the fit has begun
                for last in events:
                    show_event(last, console)
                    show_live(last)
                    if isinstance(last, FileWritten):
                        written.append(last.path)
                    if stop.received and not isinstance(last, Finished):
                        break
        except (KeyboardInterrupt, SystemExit):  # the second signal
            if stop.received is None:
                raise
    if isinstance(last, Finished):
        return _finished(arguments.output, last.metrics, written)
    assert stop.received is not None
    return _stopped(arguments.output, argv, stop.received, written)


def parse(argv: Sequence[str]) -> GenerateArguments:
    """The arguments, whose settings start from the preset or run that they name.

    Raises:
        SystemExit: help was asked for; it is printed.
        ValueError: an option or the named settings cannot be used.
    """
    start = _starting_settings(argv)
    fusion = start.fusion or FusionConfig()
    arguments = COMMAND.parse(argv, settings=replace(start, fusion=fusion), use_fusion=start.fusion is not None)
    settings = arguments.settings
    if not arguments.use_fusion:
        if settings.fusion != fusion:
            raise ValueError("--fusion.* must not be given with --no-fusion. Leave one of them out.")
        settings = replace(settings, fusion=None)
    if arguments.init_mesh is not None:
        settings = replace(settings, init=replace(settings.init, method="mesh", file=arguments.init_mesh))
    return replace(arguments, settings=settings)


def _starting_settings(argv: Sequence[str]) -> GenerateConfig:
    """The settings of the preset or run that the arguments name, which are the defaults of all other options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--config", "--device"):
        parser.add_argument(name)
    try:
        named, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError:  # an option without its value, which is refused with all other errors later
        named = parser.parse_args([])
    if named.preset and named.config:
        raise ValueError(f"--config must not be given with --preset {named.preset}. Leave one of them out.")
    if named.config:
        return read_record(Path(named.config)).config
    device = choose_device(cast(DeviceName, named.device if named.device in ("cpu", "auto") else "auto"))
    # An unknown preset is refused later, with the names there are.
    return PRESETS.get(named.preset, PRESETS[default_preset(device)])()


def _finished(output: Path, metrics: RunMetrics, written: Sequence[Path]) -> Outcome:
    text = (
        f"PSNR {metrics.input_psnr:.1f} dB on the input view; agreement with all training views "
        f"{metrics.training_psnr:.1f} dB; "
        f"{metrics.num_gaussians} Gaussians, {sum(metrics.seconds.values()):.0f} s on {metrics.device}"
    )
    report = open_in_browser(RunFolder(output).report)
    return Outcome(
        text, to_dict(metrics), written, [report, ds4d_command("viewer", output), export_page_command(output)]
    )


def _stopped(output: Path, argv: Sequence[str], number: signal.Signals, written: Sequence[Path]) -> Outcome:
    code, has_begun = ExitCode(128 + number), RunFolder(output).config.is_file()
    again = ["generate", *(word for word in argv if word != "--resume"), *["--resume"] * has_begun]
    saved = "the fit is saved" if has_begun else "the fit had not begun, and nothing is saved"
    error = f"stopped by {number.name}; {saved}."
    return Outcome(files=written, next=[ds4d_command(*again)], error=error, exit_code=code)
