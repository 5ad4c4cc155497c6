"""The report of a run: its sections, self-containment, escaping, and missing files."""

import json
import re
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from ds4d.runs import RunFolder
from ds4d.runs.report import write_report
from ds4d.runs.report.embedding import Videos
from ds4d.runs.report.tables import duration

SECTIONS = [
    "", "Input and result", "Four sides", "Motion saliency", "Orbit", "Over time", "Checks of the input video",
    "Curves", "Metrics", "Time and memory", "Settings", "Versions",
]  # fmt: skip
VIDEOS = ["comparison.mp4", "front.mp4", "right.mp4", "back.mp4", "left.mp4", "saliency.mp4", "orbit.mp4"]


def test_report_can_be_written_again_elsewhere(finished_run: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(finished_run, tmp_path / "elsewhere" / finished_run.name))
    (elsewhere / "report.html").unlink()
    assert write_report(RunFolder(elsewhere)) == elsewhere / "report.html"
    assert (elsewhere / "report.html").read_bytes() == (finished_run / "report.html").read_bytes()


def test_sections_and_metrics(run: Path, read_page: Callable) -> None:
    page = read_page(run)
    assert list(page.text) == SECTIONS
    metrics = json.loads((run / "metrics.json").read_text())
    for shown in (
        f"{metrics['input_psnr']:.1f} dB",
        f"{metrics['training_psnr']:.1f} dB",
        f"{metrics['num_gaussians']:,}",
    ):
        assert shown in page.text[""] and shown in page.text["Metrics"]
    assert "6 frames of views, 7 views" in page.text[""] and "48 x 48 pixels" in page.text["Metrics"]
    for name, version in metrics["versions"].items():
        assert f"{name} {version}" in page.text["Versions"]
    for setting in ("seed 0", "training.dynamic_steps 100", "outputs.size 32", "init.file none"):
        assert setting in page.text["Settings"]


def test_time_and_memory(run: Path, read_page: Callable, change_metrics: Callable) -> None:
    seconds = {"views": 0.25, "features": 0.0, "init": 1.0, "training": 117.0, "evaluate": 0.5, "outputs": 1.25}
    change_metrics(seconds=seconds, peak_memory_bytes={"main": 3 * 2**29, "gpu": 2**30})
    page = read_page(run)
    for text in ("training 1 min 57 s 98%", "initialization 1.0 s 1%", "total 2 min 0 s", "peak GPU memory 1.00 GiB"):
        assert text in page.text["Time and memory"]
    assert "time 2 min 0 s" in page.text[""] and "peak main memory 1.50 GiB" in page.text[""]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0.0 s"), (89.9, "89.9 s"), (119.7, "2 min 0 s"), (3599.7, "1 h 0 min"), (9000.0, "2 h 30 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_unknown_stages_keep_their_names(run: Path, read_page: Callable, change_metrics: Callable) -> None:
    change_metrics(seconds={"polish": 1.0, "training": 3.0}, peak_memory_bytes={"tape": 2**30})
    shown = read_page(run).text["Time and memory"]
    assert "polish 1.0 s 25%" in shown and "peak tape 1.00 GiB" in shown


def test_videos_are_embedded_unchanged(run: Path, read_page: Callable, decode: Callable) -> None:
    videos = read_page(run).of("video")
    assert [decode(video["src"]) for video in videos] == [(run / name).read_bytes() for name in VIDEOS]
    for video in videos:
        assert {"muted", "loop", "playsinline", "autoplay", "controls"} <= set(video)
        assert Image.open(BytesIO(decode(video["poster"]))).size == (int(video["width"]), int(video["height"]))


def test_curves_come_from_the_log(run: Path, read_page: Callable, decode: Callable) -> None:
    before = [decode(image["src"]).decode() for image in read_page(run).of("img") if "svg" in image["src"][:20]]
    assert len(before) == 3 and all("<svg" in curve for curve in before)
    (run / "log.jsonl").write_text("")
    page = read_page(run)
    assert sum("svg" in image["src"][:20] for image in page.of("img")) == 1, "the PSNR by frame is in metrics.json"
    assert "last loss -" in page.text["Metrics"]


def test_training_psnr_is_no_score_of_generated_views(run: Path, read_page: Callable) -> None:
    page = read_page(run)
    assert "agreement with all training views" in page.text[""]
    assert "agreement with all training views, generated ones included" in page.text["Metrics"]


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (None, "The input is a folder of views; only videos are checked."),
        ([], "No problems were found."),
        (
            [{"name": "dark", "severity": "warning", "what": "It is dark.", "fix": "Light it."}],
            "warning It is dark. Light it.",
        ),
    ],
)
def test_findings(run: Path, read_page: Callable, change_metrics: Callable, findings: list | None, said: str) -> None:
    change_metrics(findings=findings)
    assert said in " ".join(read_page(run).text["Checks of the input video"].split())


def test_degradations_and_warnings(run: Path, read_page: Callable, change_metrics: Callable) -> None:
    assert "Degradations and warnings" not in read_page(run).text
    change_metrics(
        degradations=[{"part": "lpips", "message": "LPIPS is off. Get its weights."}],
        warnings=[{"part": "input", "message": "The video is <dark>."}],
    )
    shown = " ".join(read_page(run).text["Degradations and warnings"].split())
    assert shown == "degraded lpips: LPIPS is off. Get its weights. warning input: The video is <dark>."


def test_scores_on_held_out_views(run: Path, read_page: Callable) -> None:
    scores = {"psnr": 21.03, "iou": None}
    (run / "eval.json").write_text(
        json.dumps({"data": "/d", "split": "test", "images": 2, "total": scores, "views": {"test0": scores}})
    )
    assert "test0 21.030 - mean of 1 views 21.030 -" in read_page(run).text["Held-out views"]


def test_page_refers_to_nothing_else(run: Path, read_page: Callable) -> None:
    page = read_page(run)
    besides = re.sub(r"data:[a-z/+-]+[0-9]?;base64,[\w+/=]*", "", page.source)
    assert len(besides) < 40_000 and not re.search(r"https?:|//|url\(|@import", besides)
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in page.tags}
    addresses = [
        value for _, attributes in page.tags for name in ("src", "href", "poster") if (value := attributes.get(name))
    ]
    assert len(addresses) > 10 and all(address.startswith("data:") for address in addresses)
    assert len(page.source) < 10e6
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


def test_text_is_escaped(run: Path, read_page: Callable, change_metrics: Callable) -> None:
    bad = '<script>alert("1")</script>&amp;'
    record = json.loads((run / "config.json").read_text())
    record["input"] = f"/data/{bad.replace('/', '')}"
    record["config"]["views"]["splits"] = [bad]
    (run / "config.json").write_text(json.dumps(record))
    used = {"views": bad, "features": "filters", "init": bad, "lpips": bad, "sds": bad}
    finding = {"name": bad, "severity": "note", "what": bad, "fix": bad}
    change_metrics(findings=[finding], provenance=used, device=bad, versions={"ds4d": "1", "torch": bad})
    page = read_page(run.rename(run.with_name("<b>&run")))
    assert "script" not in {name for name, _ in page.tags} and "b" in {name for name, _ in page.tags}
    assert "<b>&run" in page.text[""] and "<b>&run" not in page.source
    for section in ("Checks of the input video", "Metrics", "Settings", "Versions", "Time and memory"):
        assert bad in page.text[section]


@pytest.mark.parametrize(
    ("frames", "features", "said"),
    [
        (1, "none", "No saliency map: the input has a single frame"),
        (6, "none", "No saliency map: the camera moves"),
        (6, "filters", "saliency.png is not in the folder of the run"),
    ],
)
def test_missing_saliency_map_is_explained(
    run: Path, read_page: Callable, change_metrics: Callable, frames: int, features: str, said: str
) -> None:
    for name in ("saliency.mp4", "saliency.png"):
        (run / name).unlink()
    change_metrics(
        frames=frames, provenance={"views": "", "features": features, "init": "", "lpips": "off", "sds": "off"}
    )
    assert said in read_page(run).text["Motion saliency"]


def test_missing_and_damaged_videos_are_named(run: Path, read_page: Callable) -> None:
    for name in VIDEOS:
        (run / name).unlink()
    (run / "front.mp4").write_bytes(b"no video")
    page = read_page(run)
    assert page.of("video") == []
    assert "comparison.mp4 is not in the folder of the run" in page.text["Input and result"]
    assert "front.mp4 must" in page.text["Four sides"]
    assert len(page.of("img")) == 5  # saliency map, contact sheet, three curves


def test_a_damaged_image_is_named(run: Path, read_page: Callable) -> None:
    (run / "contact_sheet.png").write_bytes(b"no image")
    assert "contact_sheet.png" in read_page(run).text["Over time"]


def test_videos_on_a_full_page_become_stills(run: Path) -> None:
    """The first one just fits and leaves nothing for the next."""
    videos = Videos(run, max_bytes=(run / "comparison.mp4").stat().st_size)
    assert "<video" in videos.figure("comparison.mp4", "both")
    still = videos.figure("front.mp4", "front")
    assert "<img" in still and "<video" not in still
    assert "front.mp4 (0.0 MB) is too large" in still
    assert "<video" in Videos(run).figure("front.mp4", "front")


@pytest.mark.usefixtures("without_pyav")
def test_without_pyav_videos_have_no_poster(run: Path, read_page: Callable) -> None:
    videos = read_page(run).of("video")
    assert len(videos) == len(VIDEOS) and not any("poster" in video for video in videos)
