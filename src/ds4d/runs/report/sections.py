"""The parts of the page, each from a run's records to HTML."""

from collections.abc import Iterator
from html import escape

from ds4d.core import to_dict
from ds4d.runs.folder import EvaluationRecord
from ds4d.runs.report.contents import Contents
from ds4d.runs.report.curves import count_curve, loss_curves, score_curve
from ds4d.runs.report.embedding import Films, picture_figure, still_figure
from ds4d.runs.report.tables import decibels, duration, flatten, gibibytes, score_rows, table
from ds4d.visualize import SIDES

_STAGES = {
    "views": "input and views",
    "features": "features of the frames",
    "placement": "placing the object",
    "fit": "fit",
    "scores": "scores",
    "outputs": "films and pictures",
}
_MEMORY = {"main": "main memory", "gpu": "GPU"}


def headline(contents: Contents) -> str:
    """The figures that are asked for first."""
    figures = contents.figures
    tiles = {
        "PSNR, front view": decibels(figures.front_psnr),
        "PSNR, all views": decibels(figures.train_psnr),
        "Gaussians": f"{figures.num_gaussians:,}",
        "time": duration(sum(figures.seconds.values())),
        **{f"peak of {_MEMORY.get(name, name)}": gibibytes(count) for name, count in figures.peak_memory_bytes.items()},
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles.items())


def sections(contents: Contents) -> Iterator[tuple[str, str]]:
    """Titles and contents of all sections, in order. Films that come first are the last to be left out."""
    films = Films(contents.run.path)
    yield "Input and output", films.figure("comparison.mp4", "the input, and the object from the same camera")
    sides = "".join(films.figure(f"{side}.mp4", side) for side in SIDES)
    yield "Four sides", f'<div class="grid sides">{sides}</div>'
    yield "What moves", _heat(contents, films)
    yield "All round", films.figure("orbit.mp4", "time plays while the camera turns")
    sheet = picture_figure(contents.run.path / "contact_sheet.png", "two input views above ours, and four sides")
    yield "Over time", f'<div class="wide">{sheet}</div>'
    yield "What was found in the film", _findings(contents)
    yield "Curves", _curves(contents)
    yield "Figures", _figures(contents)
    if contents.evaluation is not None:
        yield "Views that were not fitted", _evaluation(contents.evaluation)
    yield "Time and memory", _costs(contents)
    yield "Settings", _folded("all settings", table(flatten(to_dict(contents.record.config))))
    yield "Versions", table(contents.figures.versions.items())


def _heat(contents: Contents, films: Films) -> str:
    if contents.figures.used.features == "none":
        why = "the clip has one frame" if contents.figures.frames == 1 else "a camera moves"
        return f'<p class="note">No heat map: {why}, and features of frames are compared in place.</p>'
    caption = "dynamic features of the real view: red to yellow is what moves"
    if (contents.run.path / "heatmap.mp4").is_file():
        return films.figure("heatmap.mp4", caption)
    return picture_figure(contents.run.path / "heatmap.png", caption)


def _findings(contents: Contents) -> str:
    findings = contents.figures.findings
    if findings is None:
        return '<p class="note">The input is a folder of views; only films are checked.</p>'
    if not findings:
        return "<p>Nothing wrong was found.</p>"
    lines = (
        f'<li class="{finding.severity}"><b>{finding.severity}</b> {escape(finding.what)} {escape(finding.mend)}</li>'
        for finding in findings
    )
    return f"<ul>{''.join(lines)}</ul>"


def _curves(contents: Contents) -> str:
    pictures = []
    if contents.log:
        pictures.append(still_figure(loss_curves(contents.log), "losses over the steps, logarithmic"))
        pictures.append(still_figure(count_curve(contents.log), "Gaussians over the steps"))
    if contents.figures.frames > 1:
        pictures.append(
            still_figure(score_curve(contents.figures.front_psnr_by_frame), "PSNR of the front view, frame by frame")
        )
    return f'<div class="grid curves">{"".join(pictures)}</div>'


def _figures(contents: Contents) -> str:
    figures = contents.figures
    width, height = figures.picture
    rows = {
        "frames": f"{figures.frames}",
        "views": f"{figures.views}: {figures.used.views}",
        "pictures": f"{width} x {height} pixels",
        "features": figures.used.features,
        "first Gaussians": figures.used.init,
        "steps": f"{figures.steps}",
        "last loss": f"{contents.log[-1]['loss']:.5f}" if contents.log else "-",
        "Gaussians": f"{figures.num_gaussians:,}",
        "PSNR, front view": decibels(figures.front_psnr),
        "PSNR, all training views": decibels(figures.train_psnr),
    }
    aligned = flatten(figures.alignment or {}, "alignment")
    return table([*rows.items(), *aligned])


def _evaluation(evaluation: EvaluationRecord) -> str:
    head, *rows = score_rows(evaluation)
    return table(rows, head)


def _costs(contents: Contents) -> str:
    seconds = contents.figures.seconds
    total = sum(seconds.values())
    rows = [[_STAGES.get(name, name), duration(value), f"{value / total:.0%}"] for name, value in seconds.items()]
    rows.append(["together", duration(total), ""])
    peaks = contents.figures.peak_memory_bytes.items()
    rows += [[f"peak of {_MEMORY.get(name, name)}", gibibytes(count), ""] for name, count in peaks]
    return table([["device", contents.figures.device]]) + table(rows, head=("stage", "time", "share"))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
