"""The page as a whole."""

from html import escape
from importlib.resources import files
from string import Template

from ds4d.runs.report.contents import Contents
from ds4d.runs.report.sections import headline, sections


def make_page(contents: Contents) -> str:
    """All that is known of a run as one HTML page without scripts, which names no other file and no address."""
    folder = files("ds4d.runs.report") / "template"
    metrics = contents.metrics
    subtitle = (
        f"{metrics.frames} frames of {contents.record.input.name}, {metrics.views} views, "
        f"on {metrics.device}, by ds4d {contents.record.ds4d}"
    )
    parts = (f"<section><h2>{escape(title)}</h2>{content}</section>" for title, content in sections(contents))
    return Template((folder / "report.html").read_text(encoding="utf-8")).substitute(
        style=(folder / "report.css").read_text(encoding="utf-8"),
        title=escape(contents.run.path.resolve().name),
        subtitle=escape(subtitle),
        headline=headline(contents),
        sections="\n".join(parts),
    )
