"""`ds4d report`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def test_the_report_is_written_again(ds4d: Callable, run: Path, tmp_path: Path) -> None:
    (run / "report.html").write_text("old")
    done = ds4d("report", run)
    assert done.code == 0 and f"wrote {run / 'report.html'}" in done.out.splitlines()
    assert "<h1>run</h1>" in (run / "report.html").read_text(encoding="utf-8")
    elsewhere = tmp_path / "new" / "page.html"
    assert ds4d("report", run, "-o", elsewhere).code == 0
    assert [path.name for path in elsewhere.parent.iterdir()] == ["page.html"]
    refused = ds4d("report", run, "-o", elsewhere)
    assert refused.code == 2 and "page.html" in refused.err and "--force" in refused.err
    assert ds4d("report", run, "-o", elsewhere, "--force").code == 0


def _stop_the_fit(run: Path) -> None:
    (run / "scene.json").unlink()


def _stop_the_outputs(run: Path) -> None:
    (run / "metrics.json").unlink()


def _damage_metrics(run: Path) -> None:
    (run / "metrics.json").write_text("{")


def _empty_metrics(run: Path) -> None:
    (run / "metrics.json").write_text("{}")


def _damage_log(run: Path) -> None:
    (run / "log.jsonl").write_text("{\n")


def _damage_scores(run: Path) -> None:
    (run / "eval.json").write_text("{}")


def _make_newer(run: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"ds4d": "99.0", "unheard_of": 1}))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_stop_the_fit, "step 120 of 120"),
        (_stop_the_outputs, "metrics.json"),
        (_damage_metrics, "metrics.json"),
        (_empty_metrics, "versions"),
        (_damage_log, "log.jsonl"),
        (_damage_scores, "eval.json"),
        (_make_newer, "99.0"),
        (shutil.rmtree, "folder"),
    ],
)
def test_incomplete_and_damaged_runs_are_refused(ds4d: Callable, run: Path, change: Callable, part: str) -> None:
    change(run)
    done = ds4d("report", run)
    assert done.code == 2 and part in done.err
    assert not run.exists() or (run / "report.html").read_text().startswith("<!DOCTYPE html>"), "the old page is kept"


def test_other_endings_are_refused(ds4d: Callable, run: Path, tmp_path: Path) -> None:
    done = ds4d("report", run, "-o", tmp_path / "report.pdf")
    assert done.code == 2 and "--output" in done.err
