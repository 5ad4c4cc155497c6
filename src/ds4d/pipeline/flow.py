"""The flow of a run, from a video or a folder of views to a folder with a dynamic scene.

video --> preprocess: read, matte, crop --> views: generate --+
folder of views ----------------------------------------------+--> features --> init: normalize, first Gaussians
--> fit (`ds4d.pipeline.fits`) --> evaluate --> outputs: images, videos, metrics, report
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, Notice, Stopwatch, choose_device, notices_to
from ds4d.evaluation import score_training_images
from ds4d.features import choose_extractor
from ds4d.init import register_mesh
from ds4d.pipeline.events import (
    Event,
    FileWritten,
    Finished,
    MeshRegistered,
    Resolved,
    StageStarted,
    with_notices,
)
from ds4d.pipeline.fits import WholeFit, WindowedFit, choose_windows, describe_windows
from ds4d.pipeline.inputs import read_input
from ds4d.pipeline.processes import GPUCount, check_gpus, joined
from ds4d.pipeline.request import RunRequest, check_request, resolve_config
from ds4d.pipeline.results import (
    describe_parts,
    measure,
    warn_of_poor_frames,
    write_images,
    write_report_page,
)
from ds4d.pipeline.setup import extract_frame_features, prepare
from ds4d.runs import predict_run
from ds4d.scene import read_baked_scene
from ds4d.training import Ranks, has_checkpoint, load_checkpoint


def iter_run(
    input: str | PathLike[str],
    output: str | PathLike[str],
    *,
    preset: str | None = None,
    config: GenerateConfig | str | PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: DeviceName = "auto",
    resume: bool = False,
    allow_missing_weights: bool = False,
    gpus: GPUCount = 1,
) -> Generator[Event, None, None]:
    """Fits a dynamic scene to a video or to views, and yields what happens: stages, steps, files, notices.

    The arguments are checked at once; the work is done while the events are iterated over. Closing the iterator
    interrupts the run: the state of the fit is saved, and `resume` continues from there.

    Args:
        input: a video file, a folder of its frames, or a folder of views (see `ds4d.data.load_views`).
        output: folder of the run, new or empty unless `resume` is set (see `ds4d.runs.folder`). Nothing is written
            before the input has been read and checked.
        preset: settings to start from: `draft`, `tiny`, `cpu`, `fast` or `paper`; by default `fast` on CUDA, else
            `cpu`.
        config: settings to start from in place of a preset: a `GenerateConfig`, or the config.json of an earlier run.
        overrides: settings that differ, by dotted names: {"training.dynamic_steps": 2000, "views.size": 256}.
        seed: random seed; by default that of the settings, 0 in presets.
        device: device to work on; `auto` uses CUDA where it is available, else the CPU.
        resume: continue the run in `output`, which was started with the same input and settings.
        allow_missing_weights: run although weights of pretrained networks are missing, as the preset `paper` needs
            them; each part that is replaced or left out is a `Degraded` event. A network that the settings name, such
            as `views.source="zero123plus"`, is needed in any case.
        gpus: number of GPUs, each with a process that renders a share of every step (docs/many_gpus.md); with the
            device `cpu`, number of processes that share its cores. `torchrun`: those that torchrun has started, the
            first of which this is.

    Raises:
        ValueError: the input, the settings or the output folder are unfit, or weights are missing; the message names
            what and the fix.
        ImportError: an optional package that the device or the settings need is not installed.
        TrainingDiverged: a loss became NaN or Inf.
        RankLostError: a process of the run on another GPU has ended.
    """
    notices: list[Notice] = []
    with notices_to(notices.append):
        target = choose_device(device)
        check_gpus(gpus, device, target)
        settings = resolve_config(preset, config, overrides, seed, target)
        if allow_missing_weights:
            settings = replace(settings, allow_missing_weights=True)
        request = check_request(input, output, settings, target, resume)
    return with_notices(_run(request, notices, gpus), notices)


def follow(ranks: Ranks) -> None:
    """Takes part in a run that the first process reports (`ds4d.pipeline.processes`).

    Raises:
        RankLostError: another process of the run has ended.
    """
    request = ranks.from_first(None)
    for _ in with_notices(_run_alone(request, [], ranks), []):
        pass


def _run(request: RunRequest, notices: list[Notice], gpus: GPUCount) -> Generator[Event, None, None]:
    folder = request.folder
    with folder.locked():
        if not request.resume:
            folder.check_unused_by_others()
        folder.clean()
        if request.resume and folder.metrics.is_file():
            metrics = folder.read_metrics()
            if not folder.report.is_file():
                yield from write_report_page(folder)
            yield Finished(metrics)
            return
        with joined(request, gpus) as ranks:
            yield from _run_alone(request, notices, ranks)


def _run_alone(request: RunRequest, notices: list[Notice], ranks: Ranks) -> Generator[Event, None, None]:
    """The run, in a folder that no other uses. Only the first process writes, and goes on after the fit."""
    folder, device, record, watch = request.folder, request.device, request.record, Stopwatch()
    yield StageStarted("views")
    with watch("views"), ranks.first_before_others():  # who find the generated views in the cache
        training_input = read_input(record.input, record.resolved_config, device)
    video = training_input.video
    record = replace(record, views_source=training_input.source)
    yield Resolved("views", training_input.description)
    yield Resolved("cost", str(predict_run(video.num_times, video.num_views, record.config, device)))

    windows = choose_windows(video, record.config)
    if len(windows) > 1:
        yield Resolved("windows", describe_windows(windows))

    yield StageStarted("features")
    extractor, why = choose_extractor(record.resolved_config.features, device)
    record = replace(record, features_kind=extractor)
    config = record.resolved_config
    with watch("features"):
        features = extract_frame_features(video, config, device, input_view_only=len(windows) > 1)
    yield Resolved("features", "none" if features is None else f"{extractor} ({why})")

    yield StageStarted("init")
    with watch("init"):
        registration = register_mesh(video, config.init, config.seed)
        if len(windows) > 1:
            clip_fit = WindowedFit(video, windows, config, device, folder, registration, training_input.points, ranks)
        else:
            trainer = prepare(video, config, device, features, registration, training_input.points, ranks)
            if request.resume and ranks.is_first and has_checkpoint(folder.checkpoint):
                load_checkpoint(trainer, folder.checkpoint)
            clip_fit = WholeFit(trainer, config, folder)
    if registration is not None:
        yield MeshRegistered(registration)
    provenance = describe_parts(training_input, features, clip_fit, record)
    yield Resolved("init", provenance.init)

    yield StageStarted("training")
    # From here on the folder holds a run, and an interrupted one a checkpoint.
    if ranks.is_first:
        folder.open(record, training_input.video_crop)
    fitted = yield from clip_fit.run()
    ranks.leave()
    if not ranks.is_first:
        return
    watch.seconds["training"] = fitted.seconds

    yield StageStarted("evaluate")
    with watch("evaluate"):
        scene = read_baked_scene(folder.path, device)  # as it was saved
        psnr = score_training_images(scene, fitted.renderer, fitted.video)
    warn_of_poor_frames(psnr[:, 0])

    yield StageStarted("outputs")
    with watch("outputs"):
        for path in write_images(scene, fitted, features, config, folder):
            yield FileWritten(path)
    metrics = measure(training_input, provenance, registration, fitted, psnr, watch.seconds, notices)
    folder.finish(metrics)
    yield from write_report_page(folder)
    yield Finished(metrics)
