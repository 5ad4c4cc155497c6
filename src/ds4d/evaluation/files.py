"""The results of a protocol as files: JSON for programs, CSV, Markdown, and a page with every clip beside the truth."""

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ds4d.core import from_dict, installed_version
from ds4d.evaluation.protocols import PROTOCOLS, ProtocolScores
from ds4d.evaluation.registry import PROTOCOL_METRICS
from ds4d.evaluation.subjects import ClipPair
from ds4d.io import atomic_path, contact_sheet, read_json, write_png, write_video

RESULTS = "results.json"
_FPS = 12.0  # of the clips on the page
_SHOWN = 5  # frames on the page where videos cannot be written
_ERROR_GAIN = 4  # of the differences that are shown
_DECIMALS = {"dB": 2, "%": 2, "1/255": 2}

_ARROWS = {"higher": "up", "lower": "down", "one": "to 1"}


def write_scores(folder: Path, scores: ProtocolScores, clips: list[Path]) -> list[Path]:
    """Writes results.json, results.csv, results.md and results.html; returns their paths.

    Args:
        folder: output folder.
        scores: what was scored.
        clips: videos or images of the clips, in the folder, for the page.
    """
    content = {**asdict(scores), "metrics": {name: _describe(name) for name in scores.total}}
    texts = {
        RESULTS: json.dumps(_plain(content), indent=1, allow_nan=False) + "\n",
        "results.csv": _csv(scores),
        "results.md": markdown(scores),
        "results.html": _page(scores, clips, folder),
    }
    paths = []
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
        paths.append(folder / name)
    return paths


def read_scores(path: Path) -> ProtocolScores:
    """The scores in a results.json, or in the folder that holds one.

    Raises:
        ValueError: the file is missing, damaged, or of another kind.
    """
    file = path / RESULTS if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{file} must be the {RESULTS} of `ds4d eval --protocol`, got no file. Check the path.")
    try:
        content = read_json(file)
        content.pop("metrics", None)
        return from_dict(ProtocolScores, _numbers(content))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{file} must be written by `ds4d eval --protocol`: {error}. Run it again.") from error


def write_clip(folder: Path, name: str, clip: ClipPair) -> Path:
    """Writes truth, result and difference of a clip side by side, as a video or, without PyAV, as an image of frames.

    Args:
        folder: output folder.
        name: name of the object.
        clip: clip to show.
    """
    rendered, true = clip.native if clip.same_size else clip.colors
    stem = f"{name}-{clip.name.removeprefix(name).strip()}".replace("/", "-")
    if installed_version("av") is None:
        chosen = np.linspace(0, len(true) - 1, min(_SHOWN, len(true))).round().astype(int)
        rows = [[true[i] for i in chosen], [rendered[i] for i in chosen]]
        path = folder / "clips" / f"{stem}.png"
        write_png(path, contact_sheet(rows, row_labels=("truth", "result")))
    else:
        path = folder / "clips" / f"{stem}.mp4"
        write_video(path, _side_by_side(true, rendered), _FPS)
    return path


def markdown(scores: ProtocolScores) -> str:
    """The means, every object, what failed and what was not computed, as Markdown."""
    computed = [name for name in scores.total if name not in scores.not_computed]
    frames = sorted({each.frames for each in scores.objects if not each.error})
    lines = [
        f"Protocol {scores.protocol} ({PROTOCOLS[scores.protocol].title}), ds4d {scores.ds4d}, "
        f"{len(scores.objects)} objects, {len(scores.failed)} failed, frames: {', '.join(map(str, frames)) or 'none'}.",
        "",
    ]
    if computed:
        head = ["object", *(f"{name} ({_ARROWS[PROTOCOL_METRICS[name].better]})" for name in computed)]
        rows = [[each.name, *(cell(each.values.get(n, math.nan), n) for n in computed)] for each in scores.objects]
        means = [cell(scores.total[name], name) + _count(scores, name) for name in computed]
        lines += [*grid(head, [*rows, ["**all**", *means]]), ""]
    if scores.failed:
        lines += ["Failed, in no mean:", "", *(f"- {each.name}: {each.error}" for each in scores.failed), ""]
    if scores.not_computed:
        lines += ["Not computed:", "", *(f"- {name}: {why}" for name, why in scores.not_computed.items()), ""]
    if scores.weights:
        lines += ["Weights:", "", *(f"- {name}: sha256 {digest}" for name, digest in scores.weights.items()), ""]
    return "\n".join(lines)


def _count(scores: ProtocolScores, name: str) -> str:
    """How many objects a mean is over, where it is not over all."""
    return "" if scores.counts[name] == len(scores.objects) else f" ({scores.counts[name]} of {len(scores.objects)})"


def _csv(scores: ProtocolScores) -> str:
    """One row per object and metric, and per view and metric; empty values were not computed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["object", "view", "metric", "value", "error"])
    for each in scores.objects:
        if each.error:
            writer.writerow([each.name, "", "", "", each.error])
        for view, values in {"": each.values, **each.views}.items():
            writer.writerows([each.name, view, name, _number(value), ""] for name, value in values.items())
    writer.writerows(["all", "", name, _number(value), ""] for name, value in scores.total.items())
    return text.getvalue()


def _page(scores: ProtocolScores, clips: list[Path], folder: Path) -> str:
    """A page without scripts that refers to the clips beside it."""
    body = "".join(_html_lines(markdown(scores)))
    figures = []
    for path in clips:
        source, caption = escape(path.relative_to(folder).as_posix()), escape(path.stem)
        shown = f'<img src="{source}" alt="{caption}">'
        if path.suffix == ".mp4":
            shown = f'<video autoplay muted loop playsinline controls src="{source}" aria-label="{caption}"></video>'
        text = f"{caption}: truth, result, {_ERROR_GAIN} x difference"
        figures.append(f"<figure>{shown}<figcaption>{text}</figcaption></figure>")
    title = escape(f"Protocol {scores.protocol}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}<section>{''.join(figures)}</section></body></html>\n"
    )


_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "div{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:right}"
    "td:first-child,th:first-child{text-align:left}figure{margin:1em 0}video,img{max-width:100%}"
)


def _html_lines(text: str) -> Iterator[str]:
    """The Markdown that this module writes, as HTML: paragraphs, lists, one table."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.strip()]
    for lines in blocks:
        if lines[0].startswith("|"):
            rows = [[escape(part.strip().strip("*")) for part in line.strip("|").split("|")] for line in lines]
            yield "<div><table><tr>" + "".join(f"<th>{part}</th>" for part in rows[0]) + "</tr>"
            yield from ("<tr>" + "".join(f"<td>{part}</td>" for part in row) + "</tr>" for row in rows[2:])
            yield "</table></div>"
        elif lines[0].startswith("- "):
            yield "<ul>" + "".join(f"<li>{escape(line[2:])}</li>" for line in lines) + "</ul>"
        else:
            yield f"<p>{escape(' '.join(lines))}</p>"


def _side_by_side(
    true: UInt8[np.ndarray, "T H W 3"], rendered: UInt8[np.ndarray, "T H W 3"]
) -> Iterator[UInt8[np.ndarray, "H w 3"]]:
    for truth, result in zip(true, rendered, strict=True):
        difference = np.abs(truth.astype(np.int16) - result) * _ERROR_GAIN
        yield np.concatenate((truth, result, difference.clip(0, 255).astype(np.uint8)), axis=1)


def grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, rule, *rows)]


def cell(value: float, metric: str) -> str:
    """A value with the digits of its unit."""
    if math.isnan(value):
        return "-"
    unit = PROTOCOL_METRICS[metric].unit if metric in PROTOCOL_METRICS else ""
    digits = 2 if unit in _DECIMALS or abs(value) >= 100 else 4
    return f"{value:.{digits}f}"


def _describe(name: str) -> dict[str, Any]:
    metric = PROTOCOL_METRICS[name]
    return {"title": metric.title, "unit": metric.unit, "better": metric.better, "level": metric.level}


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN as null, infinity as the text "inf"."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return None if math.isnan(value) else value
    return value


def _numbers(content: Any) -> Any:
    """The content of a results.json with NaN and infinity again, in the dictionaries of values."""

    def restore(values: Any) -> Any:
        return {name: math.nan if value is None else float(value) for name, value in values.items()}

    content["total"] = restore(content["total"])
    for each in content["objects"]:
        each["values"] = restore(each["values"])
        each["views"] = {view: restore(values) for view, values in each["views"].items()}
    return content
