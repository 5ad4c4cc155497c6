"""`ds4d eval --protocol` and `ds4d compare` as users run them."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

METRICS = ("--metrics", "psnr", "ssim", "lpips")


@pytest.fixture
def blurred(sample_folder: Path, tmp_path: Path) -> Path:
    """The true images out of focus, as another program's result."""
    for path in (sample_folder / "test").glob("*.png"):
        target = tmp_path / "blurred" / "test" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).filter(ImageFilter.GaussianBlur(2)).save(target)
    return tmp_path / "blurred"


def test_two_methods_are_scored_and_compared(
    ds4d: Callable, sample_folder: Path, blurred: Path, tmp_path: Path
) -> None:
    for name, result in (("truth", sample_folder), ("soft", blurred)):
        out = tmp_path / "scores" / name
        done = ds4d("eval", result, "--data", sample_folder, "--protocol", "views", "-o", out, *METRICS, "--json")
        record = json.loads(done.out)["result"]
        assert done.code == 0 and record["failed"] == {} and "hf download" in record["not_computed"]["lpips"]
        assert len(list((out / "clips").glob("*.mp4"))) == 4
        page = (out / "results.html").read_text()
        assert page.count("<video") == 4 and "<table>" in page and "<script" not in page
    done = ds4d("compare", tmp_path / "scores" / "truth", tmp_path / "scores" / "soft", "-o", tmp_path / "table")
    assert done.code == 0 and "| soft |" in done.out
    content = json.loads((tmp_path / "table" / "comparison.json").read_text())
    soft = content["metrics"]["psnr"]["soft"]
    assert soft["unit"] == "view" and soft["units"] == 4  # one object: its views are paired
    assert soft["low"] <= soft["difference"] <= soft["high"] < 0
    assert content["metrics"]["lpips"]["soft"]["mean"] is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--protocol", "views"], "--output"),
        (["--frames", "30"], "--frames"),
        (["-o", "scores"], "--output"),
        (["--protocol", "views", "-o", "scores", "--metrics", "speed"], "--metrics"),
        (["--protocol", "views", "-o", "scores", "--frames", "0"], "--frames"),
        (["--protocol", "videos", "-o", "scores"], "--protocol"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    ds4d: Callable,
    sample_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ds4d("eval", sample_folder, "--data", sample_folder, *options)
    assert done.code == 2 and named in done.err and not list(tmp_path.iterdir())


def test_nothing_scored_is_an_error_but_listed(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    done = ds4d("eval", tmp_path / "none", "--data", sample_folder, "--protocol", "views", "-o", tmp_path / "out")
    assert done.code == 2 and "none" in done.err
    assert json.loads((tmp_path / "out" / "results.json").read_text())["objects"][0]["error"]


def test_an_evaluation_that_fails_leaves_nothing(
    ds4d: Callable, sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ds4d.cli.commands import eval as command

    def full(folder: Path, *_: object) -> None:
        assert len(list((folder / "clips").iterdir())) == 4
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "results.json"))

    monkeypatch.setattr(command, "write_scores", full)
    out = tmp_path / "out"
    done = ds4d("eval", sample_folder, "--data", sample_folder, "--protocol", "views", "-o", out, *METRICS)
    assert done.code == 1 and not out.exists()


def test_compare_refuses_what_eval_did_not_write(ds4d: Callable, tmp_path: Path) -> None:
    assert ds4d("compare", tmp_path).code == 2
    (tmp_path / "results.json").write_text('{"protocol": "views"}')
    done = ds4d("compare", tmp_path)
    assert done.code == 2 and "results.json" in done.err
