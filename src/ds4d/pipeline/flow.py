"""The whole flow, from a video or a folder of views to a folder with a 4D object.

    video, cut out and framed -> further views --+
    or a folder of views, checked --------------+-> frame features -> placed in the inner world -> first Gaussians
        -> fit -> scene -> scores, videos

`iter_run` yields what happens as it happens and knows no screen. Closing the iterator interrupts the run: the state of
the fit is saved, and `resume` goes on from there.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, Stopwatch, choose_device, peak_memory, versions
from ds4d.evaluation import score_training_images
from ds4d.init import describe_start, register_mesh
from ds4d.init.registration import Registration
from ds4d.pipeline.events import Event, FileWritten, Finished, FitStarted, MeshRegistered, Resolved, StageStarted
from ds4d.pipeline.inputs import TrainingInput, read_input
from ds4d.pipeline.setup import extract_frame_features, prepare
from ds4d.runs import Provenance, RunFolder, RunMetrics, RunRecord, predict_run, read_record
from ds4d.runs.report import write_report
from ds4d.scene import BakedGaussians
from ds4d.training import Event as FitEvent
from ds4d.training import (
    LossLog,
    StepDone,
    TensorBoardLog,
    Trainer,
    check_tensorboard,
    load_checkpoint,
    read_log,
    save_checkpoint,
)
from ds4d.types import FrameFeatures
from ds4d.visualize import plot_losses, saliency_map, write_outputs, write_saliency_map


def iter_run(
    input: str | Path,
    output: str | Path,
    *,
    config: GenerateConfig,
    device: DeviceName = "auto",
    resume: bool = False,
) -> Iterator[Event]:
    """Video or views in, 4D object out. Nothing is written before the input has been read and found good.

    Args:
        input: a video, or a folder of multi-view frames (see `ds4d.pipeline.inputs`).
        output: folder of the run (see `ds4d.runs.folder`), new or empty unless `resume` is set.
        config: all settings.
        device: where to work.
        resume: go on with the run in `output`, which was started with the same input and settings.

    Raises:
        ValueError: the input, the settings or the output folder are unfit; the message names what and the mend.
        ImportError: an extra that the device or the settings need is not installed; the message names it.
        TrainingDiverged: a loss became NaN or Inf.
    """
    folder, target = RunFolder(Path(output)), choose_device(device)
    record = RunRecord(Path(input).resolve(), target.type, config, config.views.source)
    if resume:
        folder.check_resumable(record)
        record = replace(record, views_source=read_record(folder.config).views_source)
        if folder.metrics.is_file():
            metrics = folder.read_metrics()
            if not folder.report.is_file():
                yield from _write_page(folder)
            yield Finished(metrics)
            return
    else:
        folder.check_unused()
    if config.log.tensorboard:
        check_tensorboard()
    watch = Stopwatch()

    yield StageStarted("views")
    with watch("views"):
        clip = read_input(input, record.resolved_config, target)
        video = clip.video
    yield Resolved("views", clip.description)
    yield Resolved("cost", str(predict_run(video.num_times, video.num_views, config, target)))

    yield StageStarted("features")
    with watch("features"):
        features = extract_frame_features(video, config, target)
    used = Provenance(
        views=clip.description,
        features=config.features.kind if features is not None else "none",
        init=describe_start(config.init, clip.points),
    )
    yield Resolved("features", used.features)

    yield StageStarted("init")
    with watch("init"):
        registered = register_mesh(video, config.init, config.seed)
        if registered is not None:
            yield MeshRegistered(registered)
        trainer = prepare(video, config, target, features, registered, clip.points)
        if resume and folder.checkpoint.is_file():
            load_checkpoint(trainer, folder.checkpoint)
    yield Resolved("init", used.init)

    yield StageStarted("fit")
    # From here on every interruption leaves a checkpoint.
    folder.open(replace(record, views_source=clip.source), clip.video_crop)
    yield FitStarted(trainer.scene, trainer.video)
    yield from _fit(trainer, config, folder)
    trainer.scene.save(folder.path)
    yield FileWritten(folder.path / "scene.safetensors")
    watch.seconds["fit"] = trainer.seconds

    yield StageStarted("evaluate")
    with watch("evaluate"):
        scene = BakedGaussians.load(folder.path, target)  # what is scored and shown is what was saved
        scores = score_training_images(scene, trainer.renderer, trainer.video)

    yield StageStarted("outputs")
    with watch("outputs"):
        for path in _draw(scene, trainer, features, config, folder):
            yield FileWritten(path)

    metrics = _measure(clip, used, registered, trainer, scores, watch.seconds, target)
    folder.finish(metrics)
    yield from _write_page(folder)
    yield Finished(metrics)


def _fit(trainer: Trainer, config: GenerateConfig, folder: RunFolder) -> Iterator[FitEvent]:
    """Runs the fit, logging it; whenever it is interrupted, and at its end, a checkpoint is left."""
    logs: list[LossLog | TensorBoardLog] = [LossLog(folder.log, keep_until=trainer.step)]
    if config.log.tensorboard:
        logs.append(TensorBoardLog(folder.path / "tensorboard"))
    try:
        for event in trainer.run():
            if isinstance(event, StepDone):
                if event.step % config.log.every == 0:
                    for log in logs:
                        log.write(event)
                if event.step % config.checkpoint_every == 0:
                    save_checkpoint(trainer, folder.checkpoint)
            yield event
    except GeneratorExit:
        save_checkpoint(trainer, folder.checkpoint)
        raise
    finally:
        for log in logs:
            log.close()
    save_checkpoint(trainer, folder.checkpoint)


def _draw(
    scene: BakedGaussians, trainer: Trainer, features: FrameFeatures | None, config: GenerateConfig, folder: RunFolder
) -> Iterator[Path]:
    """Writes all images and videos of a run, and yields the path of each when it is there."""
    yield from write_outputs(scene, trainer.video, trainer.renderer, config.outputs, folder.path)
    if features is not None:
        fractions = saliency_map(features, config.decoupling)
        yield from write_saliency_map(fractions, trainer.video, config.outputs, folder.path)
    if history := read_log(folder.log):
        plot_losses(history, folder.path / "loss.png")
        yield folder.path / "loss.png"


def _measure(
    clip: TrainingInput,
    used: Provenance,
    registered: Registration | None,
    trainer: Trainer,
    scores: Float[Tensor, "T V"],
    seconds: dict[str, float],
    device: torch.device,
) -> RunMetrics:
    """The figures of a run; `scores` are the PSNR of all training images, dB."""
    front, frames = scores[:, 0], clip.video.frames
    return RunMetrics(
        versions=versions(),
        provenance=used,
        findings=clip.findings,
        device=_device_name(device),
        frames=clip.video.num_times,
        views=clip.video.num_views,
        image_size=(frames.width, frames.height),
        steps=trainer.step,
        num_gaussians=trainer.scene.gaussians.num_gaussians,
        input_psnr=float(front.nanmean()),
        training_psnr=float(scores.nanmean(0).nanmean()),
        input_psnr_by_frame=tuple(None if math.isnan(score) else score for score in front.tolist()),
        seconds=seconds,
        peak_memory_bytes=peak_memory(device),
        registration=None if registered is None else registered.metrics(),
    )


def _write_page(folder: RunFolder) -> Iterator[FileWritten]:
    """Writes the page of a run, which is whole without it: what is in its way is warned of."""
    try:
        path = write_report(folder)
    except (OSError, ValueError) as error:
        warnings.warn(f"{folder.report.name} is not written, but may be later by ds4d report: {error}", stacklevel=3)
    else:
        yield FileWritten(path)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
