"""A finished run on one page that needs nothing beside it: images, curves, figures, settings."""

from pathlib import Path

from ds4d.io import atomic_path
from ds4d.runs.folder import RunFolder
from ds4d.runs.report.contents import read_contents
from ds4d.runs.report.page import make_page


def write_report(run: RunFolder, path: Path | None = None) -> Path:
    """Writes the page of a finished run, made of nothing but what stands in its folder, and returns its path.

    Args:
        run: whole.
        path: of the page; report.html in the run's folder if None. A page that is there is replaced.

    Raises:
        ValueError: the run is not whole, is damaged, or was written by another version.
    """
    path = run.report if path is None else path
    page = make_page(read_contents(run))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
