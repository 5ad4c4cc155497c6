"""Every command on the sample: what it says, what it writes, and that its help tells all."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import trimesh

from ds4d import __version__
from ds4d.cli import COMMANDS
from ds4d.cli.generate import PresetName, parse
from ds4d.fusion import FusionConfig
from ds4d.io import image_size, read_rgba
from ds4d.metrics import METRICS
from ds4d.presets import PRESETS
from ds4d.runs import read_record

SCORE_VIEWS = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_views.py"


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_help_answers_without_loading_anything() -> None:
    code = (
        "import sys; from ds4d.cli import main; status = main(['--help']); "
        "sys.exit(status or 9 * bool({'torch', 'tyro', 'numba', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_what_is_no_command_is_said(ds4d: Callable) -> None:
    outcome = ds4d("genrate")
    assert outcome.status == 2 and "'genrate' is no command. Did you mean generate?" in outcome.err
    assert ds4d().status == 2
    assert ds4d("--version").out.strip() == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(ds4d: Callable, command: str) -> None:
    outcome = ds4d(command, "--help")
    assert outcome.status == 0
    # An option's line is followed by its help; where there is none, only the default stands there.
    silent = re.findall(r"│ (--?\S+).*\n│ +\((?:default|required)", outcome.out)
    assert not silent


def test_a_mesh_from_elsewhere_begins_the_fit(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, creature_mesh: trimesh.Trimesh
) -> None:
    """Lying on its side, mirrored, a hundred times as large: the run says how it was turned, and keeps it."""
    mesh, run = tmp_path / "creature.ply", tmp_path / "run"
    matrix = trimesh.transformations.rotation_matrix(1.5, (0.3, 0.1, 1)) @ np.diag((-100.0, 100, 100, 1))
    creature_mesh.copy().apply_transform(matrix).export(mesh)
    outcome = ds4d("generate", sample_folder, "-o", run, *quick, "--init.num-gaussians", "1500", "--init", mesh)
    assert outcome.status == 0, outcome.err
    assert "it is mirrored" in outcome.err and "silhouettes overlap (IoU) 0." in outcome.err
    registration = json.loads((run / "metrics.json").read_text())["registration"]
    assert (
        registration["silhouette_iou"] > 0.75 and registration["color_error"] < 0.2 and registration["knows_distance"]
    )
    assert registration["scale"] == pytest.approx(0.01, rel=0.1)
    record = read_record(run / "config.json").config.init
    assert (record.method, record.file) == ("mesh", mesh)


def test_the_object_goes_back_into_its_video(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    input_video, run, video = sample_folder / "front.mp4", tmp_path / "run", tmp_path / "over.mp4"
    assert ds4d("generate", input_video, "-o", run, *quick, "--init.num-gaussians", "2000").status == 0
    outcome = ds4d("render", run, "--over", input_video, "-o", video, "--device", "cpu")
    assert outcome.status == 0 and str(video) in outcome.out, outcome.err
    ours, theirs = (
        np.stack([frame.to_ndarray(format="rgb24") for frame in av.open(str(path)).decode(video=0)]).astype(int)
        for path in (video, input_video)
    )
    assert ours.shape == theirs.shape
    # Hardly fitted, but nowhere does it lie better than in its own place.
    misfits = {shift: np.abs(ours - np.roll(theirs, shift, axis=(1, 2))).mean() for shift in ((0, 0), (3, 0), (0, 3))}
    assert min(misfits, key=lambda shift: misfits[shift]) == (0, 0) and misfits[0, 0] < 16
    refused = ds4d("render", run, "--over", input_video, "-o", video, "--fps", "3")
    assert refused.status == 2 and "--fps must not be given with --over" in refused.err
    # Its camera alone, without the video: a square, as the video was framed.
    assert ds4d("render", run, "--input-camera", "--seconds", 0.1, "-o", tmp_path / "alone").status == 0
    assert image_size(tmp_path / "alone" / "frame0001.png") == (32, 32)


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_are_refused(ds4d: Callable, command: str, tmp_path: Path) -> None:
    outcome = ds4d(command, tmp_path / "x", "--bogus", "3")
    assert outcome.status == 2 and "--bogus" in outcome.err


def test_generate_says_what_it_does_and_what_it_wrote(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    outcome = ds4d("generate", sample_folder, "-o", run, "--splits", "front", "mv", "--seed", 3, *quick)
    assert outcome.status == 0
    for name in ("orbit.mp4", "front.mp4", "right.mp4", "back.mp4", "left.mp4", "contact_sheet.png", "middle.ply"):
        assert f"wrote {run / name}" in outcome.out.splitlines()
    stages = [line for line in outcome.err.splitlines() if line.startswith("stage ")]
    assert len(stages) == 6 and stages[3] == "stage 4 of 6: fitting"
    *_, view, export = outcome.out.splitlines()
    assert view == f"next: ds4d view {run}" and export == f"next: ds4d export {run} --format html -o run.html"
    assert re.search(r"front view \d+\.\d dB", outcome.out)
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["seed"] == 3 and config["views"]["splits"] == ["front", "mv"]
    assert (
        config["training"]["dynamic_steps"] == 4
        and config["training"]["times_per_step"] == PRESETS["tiny"]().training.times_per_step
    )
    again = ds4d("generate", sample_folder, "-o", tmp_path / "again", "--config", run / "config.json", "--quiet")
    assert (again.status, again.out, again.err) == (0, "", "")
    assert (tmp_path / "again" / "scene.safetensors").read_bytes() == (run / "scene.safetensors").read_bytes()


def test_options_change_their_preset(tmp_path: Path) -> None:
    assert set(PRESETS) == set(PresetName.__args__)
    for name, preset in PRESETS.items():
        assert parse(["in", "-o", "out", "--preset", name]).settings == preset()
    changed = parse(
        ["in", "-o", "out", "--preset", "cpu", "--training.losses.ssim.weight", "0.5", "--up", "z"]
    ).settings
    assert changed.training.losses.ssim.weight == 0.5 and changed.views.up == "z"
    assert changed.training.static_steps == PRESETS["cpu"]().training.static_steps


def test_an_option_without_its_value_is_told_like_every_other(ds4d: Callable) -> None:
    outcome = ds4d("generate", "in", "-o", "out", "--preset")
    assert outcome.status == 2 and "--preset" in outcome.err
    assert "__main__" not in outcome.err and "usage: pytest" not in outcome.err and "ds4d generate" in outcome.err


def test_frame_features_are_switched_off_by_a_word() -> None:
    words = ["in", "-o", "out", "--preset", "cpu"]
    assert parse([*words, "--no-fusion"]).settings == replace(PRESETS["cpu"](), fusion=None)
    with pytest.raises(ValueError, match=r"where nothing is fused\. Add --fusion"):
        parse([*words, "--no-fusion", "--fusion.rule", "input"])


def test_a_run_without_fusion_begins_others(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    assert ds4d("generate", sample_folder, "-o", tmp_path / "run", "--no-fusion", *quick).status == 0
    config = tmp_path / "run" / "config.json"
    assert json.loads(config.read_text())["config"]["fusion"] is None
    words = ["in", "-o", "out", "--config", str(config)]
    assert parse(words).settings.fusion is None
    assert parse([*words, "--fusion"]).settings.fusion == FusionConfig()


def test_the_usual_preset_suits_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert parse(["in", "-o", "out"]).settings == PRESETS["cpu"]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert parse(["in", "-o", "out"]).settings == PRESETS["fast"]()
    assert parse(["in", "-o", "out", "--device", "cpu"]).settings == PRESETS["cpu"]()


def test_render_writes_every_frame_of_a_transforms_file(
    ds4d: Callable, finished_run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    outcome = ds4d(
        "render", finished_run, "--transforms", sample_folder / "transforms_test.json", "-o", tmp_path / "out"
    )
    assert outcome.status == 0 and "wrote 24 files into" in outcome.out
    frames = json.loads((sample_folder / "transforms_test.json").read_text())["frames"]
    for frame in frames:
        assert image_size(tmp_path / "out" / f"{frame['file_path']}.png") == (48, 48)
    alphas = read_rgba(tmp_path / "out" / f"{frames[0]['file_path']}.png")[..., 3]
    assert (alphas == 0).any() and (alphas > 200).any()


def test_render_takes_a_size_where_the_file_gives_none(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]
    frames = [{"file_path": f"./r_{i}", "time": i / 2, "transform_matrix": matrix} for i in range(3)]
    path = tmp_path / "transforms_path.json"
    path.write_text(json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    outcome = ds4d("render", finished_run, "--transforms", path, "-o", tmp_path / "out")
    assert outcome.status == 2 and "must have the keys w and h" in outcome.err
    assert not (tmp_path / "out").exists()
    assert ds4d("render", finished_run, "--transforms", path, "-o", tmp_path / "out", "--size", 40).status == 0
    assert image_size(tmp_path / "out" / "r_2.png") == (40, 40)


def test_eval_agrees_with_the_scores_of_the_files(
    ds4d: Callable, run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    """The program that scores runs from outside, on the files that `render` writes."""
    if not SCORE_VIEWS.is_file():
        pytest.skip(f"needs {SCORE_VIEWS}")
    outcome = ds4d("eval", run, "--data", sample_folder)
    assert outcome.status == 0 and "mean of 4 views" in outcome.out
    ours = json.loads((run / "eval.json").read_text())
    assert ds4d("render", run, "--transforms", sample_folder / "transforms_test.json", "-o", tmp_path).status == 0
    score = [sys.executable, SCORE_VIEWS, tmp_path, sample_folder, "--json", tmp_path / "scores.json"]
    subprocess.run(score, check=True, capture_output=True)
    theirs = json.loads((tmp_path / "scores.json").read_text())
    assert ours["images"] == theirs["total"]["images"] == 24
    for name in METRICS:
        assert ours["total"][name] == pytest.approx(theirs["total"][name], abs=1e-3), name
        for view, scores in theirs["views"].items():
            assert ours["views"][view][name] == pytest.approx(scores[name], abs=1e-3), (view, name)


def test_eval_writes_its_table(ds4d: Callable, run: Path, sample_folder: Path) -> None:
    outcome = ds4d("eval", run, "--data", sample_folder, "--split", "front")
    record = json.loads((run / "eval.json").read_text())
    assert record["split"] == "front" and set(record["total"]) == set(METRICS)
    head, row, _, wrote, look, page = outcome.out.splitlines()
    assert wrote == f"wrote {run / 'eval.json'}" and look.startswith(f"next: ds4d render {run} ")
    assert page == f"next: ds4d report {run}"
    assert head.split() == ["view", *METRICS]
    assert row.split()[0] == "front" and float(row.split()[1]) == pytest.approx(record["total"]["psnr"], abs=1e-3)


def test_sample_writes_an_input(ds4d: Callable, tmp_path: Path) -> None:
    outcome = ds4d("sample", tmp_path / "data", "--frames", 2, "--size", 24, "--supersampling", 1)
    assert outcome.status == 0 and f"ds4d generate {tmp_path / 'data'}" in outcome.out
    assert (tmp_path / "data" / "transforms_mv.json").is_file() and (tmp_path / "data" / "front.mp4").is_file()


def test_info_tells_what_is_there_and_what_is_missing(ds4d: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = ds4d("info")
    assert outcome.status == 0
    assert f"ds4d {__version__}" in outcome.out and f"torch {torch.__version__}" in outcome.out
    assert "extra log: installed" in outcome.out and "extra dev: installed" in outcome.out
    from ds4d.cli import info

    input = info.installed_version
    monkeypatch.setattr(info, "installed_version", lambda name: None if name == "tensorboard" else input(name))
    assert "extra log: missing tensorboard. Add it with: pip install 'ds4d[log]'" in ds4d("info").out
