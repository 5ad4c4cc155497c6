"""The sections of the report, each made from the records of the run as HTML."""

from collections.abc import Iterable, Iterator
from html import escape

from ds4d.core import to_dict
from ds4d.runs.records import EvaluationRecord
from ds4d.runs.report.contents import Contents
from ds4d.runs.report.embedding import Videos, data_uri, file_figure, image_figure
from ds4d.runs.report.tables import decibels, duration, flatten, gibibytes, score_rows, table
from ds4d.visualize import SIDES, count_figure, loss_figure, psnr_figure, svg_bytes

_STAGES = {
    "views": "input and views",
    "features": "frame features",
    "init": "initialization",
    "training": "training",
    "evaluate": "evaluation",
    "outputs": "videos and images",
}
_MEMORY = {"main": "main memory", "gpu": "GPU memory"}
_PROVENANCE = {
    "views": "views from",
    "features": "frame features",
    "init": "initial Gaussians",
    "lpips": "LPIPS loss",
    "sds": "score distillation (SDS)",
}
# Generated views are training views: agreement with them says nothing about their quality.
_INPUT_PSNR, _TRAINING_PSNR = "PSNR, input view", "PSNR, agreement with all training views"


def headline(contents: Contents) -> str:
    """The most important metrics."""
    metrics = contents.metrics
    tiles = {
        _INPUT_PSNR: decibels(metrics.input_psnr),
        _TRAINING_PSNR: decibels(metrics.training_psnr),
        "Gaussians": f"{metrics.num_gaussians:,}",
        "time": duration(sum(metrics.seconds.values())),
        **{f"peak {_MEMORY.get(name, name)}": gibibytes(count) for name, count in metrics.peak_memory_bytes.items()},
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles.items())


def sections(contents: Contents) -> Iterator[tuple[str, str]]:
    """Titles and contents of all sections, in order. The first videos are the last to be left out of a full page."""
    videos = Videos(contents.run.path)
    yield "Input and result", videos.figure("comparison.mp4", "left: the input; right: the result from the same camera")
    if notices := _notices(contents):
        yield "Degradations and warnings", notices
    sides = "".join(videos.figure(f"{side}.mp4", side) for side in SIDES)
    yield "Four sides", f'<div class="grid sides">{sides}</div>'
    yield "Motion saliency", _saliency(contents, videos)
    yield "Orbit", videos.figure("orbit.mp4", "the scene plays while the camera orbits the object")
    caption = "two training views, each above its rendering, and renderings of four sides"
    sheet = file_figure(contents.run.path / "contact_sheet.png", caption)
    yield "Over time", f'<div class="wide">{sheet}</div>'
    yield "Checks of the input video", _findings(contents)
    yield "Curves", _curves(contents)
    yield "Metrics", _metrics(contents)
    if contents.evaluation is not None:
        yield "Held-out views", _evaluation(contents.evaluation)
    yield "Time and memory", _costs(contents)
    yield "Settings", _collapsed("all settings", table(flatten(to_dict(contents.record.config))))
    yield "Versions", table(contents.metrics.versions.items())


def _saliency(contents: Contents, videos: Videos) -> str:
    if contents.metrics.provenance.features == "none":
        why = "the input has a single frame" if contents.metrics.frames == 1 else "the camera moves"
        return f'<p class="note">No saliency map: {why}, and it compares the features of frames pixel by pixel.</p>'
    caption = "dynamic fraction of the features of the input view (DSFD): red to yellow moves"
    if (contents.run.path / "saliency.mp4").is_file():
        return videos.figure("saliency.mp4", caption)
    return file_figure(contents.run.path / "saliency.png", caption)


def _notices(contents: Contents) -> str:
    """Parts that were replaced by something weaker or left out, then what may have lowered the quality."""
    metrics = contents.metrics
    entries = [("degraded", f"{notice.part}: {notice.message}") for notice in metrics.degradations]
    entries += [("warning", f"{notice.part}: {notice.message}") for notice in metrics.warnings]
    return _list(entries) if entries else ""


def _findings(contents: Contents) -> str:
    findings = contents.metrics.findings
    if findings is None:
        return '<p class="note">The input is a folder of views; only videos are checked.</p>'
    if not findings:
        return "<p>No problems were found.</p>"
    return _list((finding.severity, f"{finding.what} {finding.fix}") for finding in findings)


def _list(entries: Iterable[tuple[str, str]]) -> str:
    """A list of texts, each after a word for its kind."""
    lines = (f'<li class="{escape(kind)}"><b>{escape(kind)}</b> {escape(text)}</li>' for kind, text in entries)
    return f"<ul>{''.join(lines)}</ul>"


def _curves(contents: Contents) -> str:
    figures = {}
    if contents.log:
        figures["loss and its terms over the steps, logarithmic"] = loss_figure(contents.log)
        figures["number of Gaussians over the steps"] = count_figure(contents.log)
    if contents.metrics.frames > 1:
        figures["PSNR of the input view by frame"] = psnr_figure(contents.metrics.input_psnr_by_frame)
    images = (
        image_figure(data_uri("image/svg+xml", svg_bytes(figure)), caption) for caption, figure in figures.items()
    )
    return f'<div class="grid curves">{"".join(images)}</div>'


def _metrics(contents: Contents) -> str:
    metrics = contents.metrics
    width, height = metrics.image_size
    rows = {
        "frames": f"{metrics.frames}",
        "training views": f"{metrics.views}",
        "images": f"{width} x {height} pixels",
        **{_PROVENANCE.get(part, part): str(what) for part, what in to_dict(metrics.provenance).items()},
        "steps": f"{metrics.steps}",
        "last loss": f"{contents.log[-1]['loss']:.5f}" if contents.log else "-",
        "Gaussians": f"{metrics.num_gaussians:,}",
        _INPUT_PSNR: decibels(metrics.input_psnr),
        f"{_TRAINING_PSNR}, generated ones included": decibels(metrics.training_psnr),
    }
    registration = flatten(metrics.registration or {}, "registration")
    return table([*rows.items(), *registration])


def _evaluation(evaluation: EvaluationRecord) -> str:
    head, *rows = score_rows(evaluation)
    return table(rows, head)


def _costs(contents: Contents) -> str:
    seconds = contents.metrics.seconds
    total = sum(seconds.values())
    rows = [
        [_STAGES.get(name, name), duration(value), f"{value / total if total else 0:.0%}"]
        for name, value in seconds.items()
    ]
    rows.append(["total", duration(total), ""])
    peaks = contents.metrics.peak_memory_bytes.items()
    rows += [[f"peak {_MEMORY.get(name, name)}", gibibytes(count), ""] for name, count in peaks]
    return table([["device", contents.metrics.device]]) + table(rows, head=("stage", "time", "fraction"))


def _collapsed(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
