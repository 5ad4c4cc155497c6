"""`ds4d report`: the page of a whole run, refused where it would overwrite, or of what is no whole run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def test_writes_the_page_anew(ds4d: Callable, run: Path, tmp_path: Path) -> None:
    (run / "report.html").write_text("old")
    done = ds4d("report", run)
    assert done.status == 0 and f"wrote {run / 'report.html'}" in done.out.splitlines()
    assert "<h1>run</h1>" in (run / "report.html").read_text(encoding="utf-8")
    elsewhere = tmp_path / "new" / "page.html"
    assert ds4d("report", run, "-o", elsewhere).status == 0
    assert [path.name for path in elsewhere.parent.iterdir()] == ["page.html"]
    refused = ds4d("report", run, "-o", elsewhere)
    assert refused.status == 2 and "page.html must not exist yet" in refused.err and "--force" in refused.err
    assert ds4d("report", run, "-o", elsewhere, "--force").status == 0


def _stop(run: Path) -> None:
    (run / "scene.json").unlink()


def _stop_while_drawing(run: Path) -> None:
    (run / "metrics.json").unlink()


def _damage(run: Path) -> None:
    (run / "metrics.json").write_text("{")


def _make_older(run: Path) -> None:
    (run / "metrics.json").write_text("{}")


def _damage_log(run: Path) -> None:
    (run / "log.jsonl").write_text("{\n")


def _damage_scores(run: Path) -> None:
    (run / "eval.json").write_text("{}")


def _make_newer(run: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"ds4d": "99.0", "unheard_of": 1}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_stop, "must be fitted to its end, got step 180 of 180. Wait for it if it is running"),
        (_stop_while_drawing, "must be finished, got one without metrics.json"),
        (_damage, "metrics.json"),
        (_make_older, "metrics.json"),
        (_damage_log, "log.jsonl: line 1 must be an object"),
        (_damage_scores, "eval.json"),
        (_make_newer, "99.0"),
        (shutil.rmtree, "must be the output folder of `ds4d generate`, got no such folder"),
    ],
)
def test_what_is_no_whole_run_is_refused(ds4d: Callable, run: Path, change: Callable, said: str) -> None:
    change(run)
    outcome = ds4d("report", run)
    assert outcome.status == 2 and said in outcome.err
    assert not run.exists() or (run / "report.html").read_text().startswith("<!DOCTYPE html>"), "the old page stays"


def test_other_kinds_of_files_are_refused(ds4d: Callable, run: Path, tmp_path: Path) -> None:
    outcome = ds4d("report", run, "-o", tmp_path / "report.pdf")
    assert outcome.status == 2 and "--output must end in .html" in outcome.err
