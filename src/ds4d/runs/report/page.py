"""The page: HTML without scripts that refers to no other file and no address."""

import os
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from ds4d.io import atomic_path
from ds4d.runs.folder import RunFolder
from ds4d.runs.report.contents import Contents, read_contents
from ds4d.runs.report.sections import headline, sections


def write_report(run: RunFolder, path: Path | None = None) -> Path:
    """Writes the report of a finished run from the files in its folder, atomically, and returns its path.

    Args:
        run: folder of the run.
        path: the page; report.html in the folder of the run if None. An existing page is replaced.

    Raises:
        ValueError: the run is not finished, is damaged, or was written by another version.
    """
    path = run.report if path is None else path
    page = _page(read_contents(run))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # names of files need not be UTF-8
    return path


def _page(contents: Contents) -> str:
    folder = files("ds4d.runs.report") / "template"
    metrics = contents.metrics
    subtitle = (
        f"{metrics.frames} frames of {contents.record.input.name}, {metrics.views} views, "
        f"on {metrics.device}, by ds4d {contents.record.ds4d}"
    )
    parts = (f"<section><h2>{escape(title)}</h2>{content}</section>" for title, content in sections(contents))
    return Template((folder / "report.html").read_text(encoding="utf-8")).substitute(
        style=(folder / "report.css").read_text(encoding="utf-8"),
        title=escape(os.path.basename(os.path.realpath(contents.run.path))),
        subtitle=escape(subtitle),
        headline=headline(contents),
        sections="\n".join(parts),
    )
