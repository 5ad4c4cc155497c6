"""Long work reports its progress to its end, in every command."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.cli import displays

VIDEO = ["reading the video", "matting"]
RUN = ["scoring the training views", "orbit.mp4", "back.mp4", "saliency.mp4"]


@pytest.fixture(autouse=True)
def _every_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line for each step, and an empty cache."""
    monkeypatch.setattr(displays, "_LEAST_PAUSE", 0.0)
    monkeypatch.setattr(displays, "_PAUSE_FRACTION", 0.0)
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("command", "works"),
    [
        ("check VIDEO", VIDEO),
        ("multiview VIDEO -o OUT --size 32 --views inflate", [*VIDEO, "inflating the frames", "writing the views"]),
        ("generate VIDEO -o OUT QUICK", [*VIDEO, "extracting features", "training", *RUN]),
        (
            "generate DATA -o OUT QUICK --init MESH",
            ["searching the orientation", "registering the shape", "training", *RUN],
        ),
        ("render RUN --orbit --size 16 --seconds 0.1 -o OUT", ["rendering the images"]),
        ("render RUN --azimuth 90 --size 16 --seconds 0.1 -o OUT.webm", ["OUT.webm"]),
        ("eval RUN --data DATA --split front", ["scoring the views"]),
        (
            "ablate DATA -o OUT --variants B --seeds 1 --size 24 --steps 4 --device cpu",
            ["training", "scoring the views"],
        ),
        ("export RUN --times 0 1 -o OUT", ["writing .ply"]),
        (
            "export RUN --format mesh --resolution 16 --times 0 1 -o OUT.glb",
            ["rendering all sides", "fusing depths", "moving the mesh", "smoothing the paths"],
        ),
        ("export RUN --format html -o OUT.html", ["evaluating the frames", "compressing the frames"]),
        ("sample OUT --frames 1 --size 16 --supersampling 1", ["rendering the sample"]),
    ],
)
def test_long_work_reports_progress_to_its_end(
    ds4d: Callable,
    run: Path,
    sample_folder: Path,
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    works: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {
        "VIDEO": [sample_folder / "front.mp4"],
        "DATA": [sample_folder],
        "RUN": [run],
        "QUICK": [*quick, "--init.num-gaussians", 300],
        "MESH": [run / "middle.ply"],
    }
    done = ds4d(*(part for word in command.split() for part in values.get(word, [word])))
    assert done.code == 0, done.err
    for work in works:
        steps = re.findall(rf"^  {re.escape(work)}: (\d+) of (\d+)", done.err, flags=re.MULTILINE)
        assert steps and steps[-1][0] == steps[-1][1], work


def test_denoising_reports_every_step(
    ds4d: Callable, tiny_zero123plus: Path, sample_folder: Path, tmp_path: Path
) -> None:
    argv = ["multiview", sample_folder / "front.mp4", "--frames", 2, "--size", 32, "--views", "zero123plus"]
    tiny = ["--zero123plus.folder", tiny_zero123plus, "--zero123plus.view-size", 64, "--zero123plus.steps", 3]
    done = ds4d(*argv, *tiny, "-o", tmp_path / "views")  # random networks may generate nothing that can be matted
    for work, total in (("denoising", 3), ("decoding", 2)):
        steps = re.findall(rf"^  {work} the views: (\d) of {total}(.*)$", done.err, flags=re.MULTILINE)
        assert [int(number) for number, _ in steps] == list(range(total + 1))
        assert all("left" in rest for _, rest in steps[1:-1])
