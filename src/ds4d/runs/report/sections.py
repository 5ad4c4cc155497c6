"""The parts of the page, each from a run's records to HTML."""

from collections.abc import Iterator
from html import escape

from ds4d.core import to_dict
from ds4d.runs.records import EvaluationRecord
from ds4d.runs.report.contents import Contents
from ds4d.runs.report.curves import count_curve, loss_curves, score_curve
from ds4d.runs.report.embedding import Videos, image_figure, still_figure
from ds4d.runs.report.tables import decibels, duration, flatten, gibibytes, score_rows, table
from ds4d.visualize import SIDES

_STAGES = {
    "views": "input and views",
    "features": "features of the frames",
    "init": "placing the object",
    "fit": "fit",
    "evaluate": "scores",
    "outputs": "videos and images",
}
_MEMORY = {"main": "main memory", "gpu": "GPU"}


def headline(contents: Contents) -> str:
    """The figures that are asked for first."""
    metrics = contents.metrics
    tiles = {
        "PSNR, front view": decibels(metrics.input_psnr),
        "PSNR, all views": decibels(metrics.training_psnr),
        "Gaussians": f"{metrics.num_gaussians:,}",
        "time": duration(sum(metrics.seconds.values())),
        **{f"peak of {_MEMORY.get(name, name)}": gibibytes(count) for name, count in metrics.peak_memory_bytes.items()},
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles.items())


def sections(contents: Contents) -> Iterator[tuple[str, str]]:
    """Titles and contents of all sections, in order. Videos that come first are the last to be left out."""
    videos = Videos(contents.run.path)
    yield "Input and output", videos.figure("comparison.mp4", "the input, and the object from the same camera")
    sides = "".join(videos.figure(f"{side}.mp4", side) for side in SIDES)
    yield "Four sides", f'<div class="grid sides">{sides}</div>'
    yield "What moves", _saliency(contents, videos)
    yield "All round", videos.figure("orbit.mp4", "time plays while the camera turns")
    sheet = image_figure(contents.run.path / "contact_sheet.png", "two input views above ours, and four sides")
    yield "Over time", f'<div class="wide">{sheet}</div>'
    yield "What was found in the video", _findings(contents)
    yield "Curves", _curves(contents)
    yield "Figures", _figures(contents)
    if contents.evaluation is not None:
        yield "Views that were not fitted", _evaluation(contents.evaluation)
    yield "Time and memory", _costs(contents)
    yield "Settings", _folded("all settings", table(flatten(to_dict(contents.record.config))))
    yield "Versions", table(contents.metrics.versions.items())


def _saliency(contents: Contents, videos: Videos) -> str:
    if contents.metrics.provenance.features == "none":
        why = "the clip has one frame" if contents.metrics.frames == 1 else "a camera moves"
        return f'<p class="note">No heat map: {why}, and features of frames are compared in place.</p>'
    caption = "dynamic features of the real view: red to yellow is what moves"
    if (contents.run.path / "saliency.mp4").is_file():
        return videos.figure("saliency.mp4", caption)
    return image_figure(contents.run.path / "saliency.png", caption)


def _findings(contents: Contents) -> str:
    findings = contents.metrics.findings
    if findings is None:
        return '<p class="note">The input is a folder of views; only videos are checked.</p>'
    if not findings:
        return "<p>Nothing wrong was found.</p>"
    lines = (
        f'<li class="{finding.severity}"><b>{finding.severity}</b> {escape(finding.what)} {escape(finding.fix)}</li>'
        for finding in findings
    )
    return f"<ul>{''.join(lines)}</ul>"


def _curves(contents: Contents) -> str:
    images = []
    if contents.log:
        images.append(still_figure(loss_curves(contents.log), "losses over the steps, logarithmic"))
        images.append(still_figure(count_curve(contents.log), "Gaussians over the steps"))
    if contents.metrics.frames > 1:
        images.append(
            still_figure(score_curve(contents.metrics.input_psnr_by_frame), "PSNR of the front view, frame by frame")
        )
    return f'<div class="grid curves">{"".join(images)}</div>'


def _figures(contents: Contents) -> str:
    metrics = contents.metrics
    width, height = metrics.image_size
    rows = {
        "frames": f"{metrics.frames}",
        "views": f"{metrics.views}: {metrics.provenance.views}",
        "images": f"{width} x {height} pixels",
        "features": metrics.provenance.features,
        "first Gaussians": metrics.provenance.init,
        "steps": f"{metrics.steps}",
        "last loss": f"{contents.log[-1]['loss']:.5f}" if contents.log else "-",
        "Gaussians": f"{metrics.num_gaussians:,}",
        "PSNR, front view": decibels(metrics.input_psnr),
        "PSNR, all training views": decibels(metrics.training_psnr),
    }
    registered = flatten(metrics.registration or {}, "registration")
    return table([*rows.items(), *registered])


def _evaluation(evaluation: EvaluationRecord) -> str:
    head, *rows = score_rows(evaluation)
    return table(rows, head)


def _costs(contents: Contents) -> str:
    seconds = contents.metrics.seconds
    total = sum(seconds.values())
    rows = [[_STAGES.get(name, name), duration(value), f"{value / total:.0%}"] for name, value in seconds.items()]
    rows.append(["together", duration(total), ""])
    peaks = contents.metrics.peak_memory_bytes.items()
    rows += [[f"peak of {_MEMORY.get(name, name)}", gibibytes(count), ""] for name, count in peaks]
    return table([["device", contents.metrics.device]]) + table(rows, head=("stage", "time", "share"))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
