"""What a run leaves in its folder after the fit: images, metrics and the report."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, Notice, Warned, describe_device, notify, peak_memory, versions
from ds4d.init import describe_initialization
from ds4d.metrics.lpips import NETWORK
from ds4d.pipeline.events import FileWritten
from ds4d.pipeline.fits import ClipFit, Fitted
from ds4d.pipeline.inputs import TrainingInput
from ds4d.runs import Provenance, RunFolder, RunMetrics, RunRecord
from ds4d.runs.report import write_report
from ds4d.scene import Scene
from ds4d.shapes.registration import Registration
from ds4d.training import read_log
from ds4d.types import FrameFeatures
from ds4d.visualize import plot_losses, saliency_map, write_outputs, write_saliency_map
from ds4d.weights import MODELS

_POOR = 4.0  # dB below the median frame: the object is torn or missing in parts


def write_images(
    scene: Scene, fitted: Fitted, features: FrameFeatures | None, config: GenerateConfig, folder: RunFolder
) -> Iterator[Path]:
    """Writes all images and videos of a run, and yields the path of each once it is written."""
    yield from write_outputs(scene, fitted.video, fitted.renderer, config.outputs, folder.path)
    if features is not None:
        saliency = saliency_map(features, config.decoupling)
        yield from write_saliency_map(saliency, fitted.video, config.outputs, folder.path)
    if history := read_log(folder.log):
        plot_losses(history, folder.path / "loss.png")
        yield folder.path / "loss.png"


def write_report_page(folder: RunFolder) -> Iterator[FileWritten]:
    """Writes the report of a run; the run is complete without it, so that a failure is only reported."""
    try:
        path = write_report(folder)
    except (OSError, ValueError) as error:
        message = f"{folder.report.name} is not written: {error} Write it later with: ds4d report {folder.path}"
        notify(Degraded("report", message))
    else:
        yield FileWritten(path)


def describe_parts(
    training_input: TrainingInput, features: FrameFeatures | None, clip_fit: ClipFit, record: RunRecord
) -> Provenance:
    """What the parts of a run work with."""
    config = record.resolved_config
    losses, guidance = record.config.training.losses, record.config.guidance  # as requested
    network = "stand-in with random weights" if config.training.lpips_stand_in else MODELS[NETWORK.weights].title
    return Provenance(
        views=training_input.description,
        features="none" if features is None else config.features.kind,
        init=describe_initialization(config.init, training_input.points),
        lpips=_describe_loss(losses.lpips.weight, network, clip_fit.uses_lpips),
        sds=_describe_loss(guidance.weight, MODELS["zero123-xl"].title, clip_fit.is_guided),
    )


def _describe_loss(weight: float, network: str, used: bool) -> str:
    if not weight:
        return "off"
    return f"{network}, weight {weight:.3g}" if used else "off (weights not found)"


def warn_of_poor_frames(psnr: Float[Tensor, " T"]) -> None:
    """Warns of frames that are far worse than the others, which the mean would hide.

    Args:
        psnr: PSNR of each frame of the input view, dB; NaN for a frame without an image.
    """
    median = float(psnr.nanmedian())
    poor = (psnr < median - _POOR).nonzero().flatten().tolist()
    if not poor:
        return
    worst = psnr[poor]
    notify(
        Warned(
            "fit",
            f"{len(poor)} of {len(psnr)} frames are far worse than the others on the input view: {_ranges(poor)}, at "
            f"{float(worst.min()):.1f} to {float(worst.max()):.1f} dB where the median is {median:.1f} dB. If the "
            "object moves fast there, use more frames per second with --fps, or a shorter part of the video with "
            "--start and --end.",
        )
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Increasing numbers in short: 0 to 5, 9."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(f"{a} to {b}" if b > a else f"{a}" for a, b in zip(starts, ends, strict=True))


def measure(
    training_input: TrainingInput,
    provenance: Provenance,
    registration: Registration | None,
    fitted: Fitted,
    psnr: Float[Tensor, "T V"],
    seconds: dict[str, float],
    notices: Sequence[Notice],
) -> RunMetrics:
    """The metrics of a run; `psnr` is that of all training images, dB."""
    video, input_psnr = training_input.video, psnr[:, 0]
    return RunMetrics(
        versions=versions(),
        provenance=provenance,
        findings=training_input.findings,
        degradations=tuple(notice for notice in notices if isinstance(notice, Degraded)),
        warnings=tuple(notice for notice in notices if isinstance(notice, Warned)),
        device=f"{fitted.processes} x " * (fitted.processes > 1) + describe_device(fitted.device),
        frames=video.num_times,
        views=video.num_views,
        image_size=(video.frames.width, video.frames.height),
        steps=fitted.steps,
        num_gaussians=fitted.num_gaussians,
        input_psnr=float(input_psnr.nanmean()),
        training_psnr=float(psnr.nanmean(0).nanmean()),
        input_psnr_by_frame=tuple(None if math.isnan(value) else value for value in input_psnr.tolist()),
        seconds=seconds,
        peak_memory_bytes=peak_memory(fitted.device),
        registration=None if registration is None else registration.metrics(),
    )
