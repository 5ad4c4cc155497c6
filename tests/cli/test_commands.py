"""Every command on the sample: output and files."""

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
from safetensors.torch import load_file

from ds4d import __version__
from ds4d.cli import COMMANDS
from ds4d.cli.commands.generate import parse
from ds4d.fusion import FusionConfig
from ds4d.io import image_size, read_rgba
from ds4d.metrics import METRICS
from ds4d.presets import PRESETS, PresetName
from ds4d.runs import read_record

SCORE_VIEWS = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_views.py"


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys; from ds4d.cli import main; status = main(['--help']); "
        "sys.exit(status or 9 * bool({'torch', 'tyro', 'numpy', 'numba', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_unknown_commands_are_refused(ds4d: Callable) -> None:
    done = ds4d("genrate")
    assert done.code == 2 and "'genrate'" in done.err and "generate?" in done.err
    assert ds4d().code == 2
    assert ds4d("--version").out.strip() == ds4d("-V").out.strip() == __version__


def test_any_mesh_initializes_a_run(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, creature_mesh: trimesh.Trimesh
) -> None:
    """The mesh is rotated, mirrored and a hundred times as large."""
    mesh, run = tmp_path / "creature.ply", tmp_path / "run"
    matrix = trimesh.transformations.rotation_matrix(1.5, (0.3, 0.1, 1)) @ np.diag((-100.0, 100, 100, 1))
    creature_mesh.copy().apply_transform(matrix).export(mesh)
    done = ds4d("generate", sample_folder, "-o", run, *quick, "--init.num-gaussians", "1500", "--init", mesh)
    assert done.code == 0, done.err
    assert "mirrored" in done.err and "IoU 0." in done.err
    registration = json.loads((run / "metrics.json").read_text())["registration"]
    assert (
        registration["silhouette_iou"] > 0.75 and registration["color_error"] < 0.2 and registration["knows_distance"]
    )
    assert registration["scale"] == pytest.approx(0.01, rel=0.1)
    record = read_record(run / "config.json").config.init
    assert (record.method, record.file) == ("mesh", mesh)


def test_render_over_the_input_video(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    input_video, run, video = sample_folder / "front.mp4", tmp_path / "run", tmp_path / "over.mp4"
    assert ds4d("generate", input_video, "-o", run, *quick, "--init.num-gaussians", "2000").code == 0
    done = ds4d("render", run, "--over", input_video, "-o", video, "--device", "cpu")
    assert done.code == 0 and str(video) in done.out, done.err
    ours, theirs = (
        np.stack([frame.to_ndarray(format="rgb24") for frame in av.open(str(path)).decode(video=0)]).astype(int)
        for path in (video, input_video)
    )
    assert ours.shape == theirs.shape
    # A poor fit, but it agrees with the video best without a shift.
    misfits = {shift: np.abs(ours - np.roll(theirs, shift, axis=(1, 2))).mean() for shift in ((0, 0), (3, 0), (0, 3))}
    assert min(misfits, key=lambda shift: misfits[shift]) == (0, 0) and misfits[0, 0] < 16
    refused = ds4d("render", run, "--over", input_video, "-o", video, "--fps", "3")
    assert refused.code == 2 and "--fps" in refused.err
    # The camera of the input view alone renders the square crop.
    assert ds4d("render", run, "--input-camera", "--seconds", 0.1, "-o", tmp_path / "alone").code == 0
    assert image_size(tmp_path / "alone" / "frame0001.png") == (32, 32)


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_are_refused(ds4d: Callable, command: str, tmp_path: Path) -> None:
    files = {"completion": ["bash"], "weights": [], "animate": [tmp_path / "x", tmp_path / "x"]}
    first = files.get(command, [tmp_path / "x"])
    done = ds4d(command, *first, "--bogus", "3")
    assert done.code == 2 and "--bogus" in done.err


def test_generate_prints_stages_files_and_next_steps(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = ds4d("generate", sample_folder, "-o", run, "--splits", "front", "mv", "--seed", 3, *quick)
    assert done.code == 0
    for name in ("orbit.mp4", "front.mp4", "right.mp4", "back.mp4", "left.mp4", "contact_sheet.png", "middle.ply"):
        assert f"wrote {run / name}" in done.out.splitlines()
    stages = [line for line in done.err.splitlines() if line.startswith("stage ")]
    assert len(stages) == 6 and stages[3] == "stage 4 of 6: training"
    *_, report, viewer, export = done.out.splitlines()
    assert report == f"next: open {run / 'report.html'} in a browser"
    assert viewer == f"next: ds4d viewer {run}" and export == f"next: ds4d export {run} -o run.html"
    assert re.search(r"PSNR \d+\.\d dB", done.out)
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["seed"] == 3 and config["views"]["splits"] == ["front", "mv"]
    assert (
        config["training"]["dynamic_steps"] == 4
        and config["training"]["times_per_step"] == PRESETS["tiny"]().training.times_per_step
    )
    again = ds4d("generate", sample_folder, "-o", tmp_path / "again", "--config", run / "config.json", "--quiet")
    assert (again.code, again.out, again.err) == (0, "", "")
    # A run that compiles kernels may round differently from the next one; bits are compared by the golden runs.
    first, second = (load_file(folder / "scene.safetensors") for folder in (run, tmp_path / "again"))
    assert first.keys() == second.keys()
    assert all(first[name].shape == second[name].shape for name in first)
    torch.testing.assert_close(first["gaussians.means"], second["gaussians.means"], atol=1e-2, rtol=0)


def test_options_change_the_preset() -> None:
    assert set(PRESETS) == set(PresetName.__args__)
    for name, preset in PRESETS.items():
        assert parse(["in", "-o", "out", "--preset", name]).settings == preset()
    changed = parse(
        ["in", "-o", "out", "--preset", "cpu", "--training.losses.ssim.weight", "0.5", "--up", "z"]
    ).settings
    assert changed.training.losses.ssim.weight == 0.5 and changed.views.up == "z"
    assert changed.training.static_steps == PRESETS["cpu"]().training.static_steps


def test_an_option_without_its_value_is_refused(ds4d: Callable) -> None:
    done = ds4d("generate", "in", "-o", "out", "--preset")
    assert done.code == 2 and done.err.startswith("ds4d: error: --preset must") and done.err.count("\n") == 1


def test_fusion_can_be_switched_off() -> None:
    argv = ["in", "-o", "out", "--preset", "cpu"]
    assert parse([*argv, "--no-fusion"]).settings == replace(PRESETS["cpu"](), fusion=None)
    with pytest.raises(ValueError, match="--no-fusion"):
        parse([*argv, "--no-fusion", "--fusion.rule", "input"])


def test_config_of_a_run_without_fusion(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    assert ds4d("generate", sample_folder, "-o", tmp_path / "run", "--no-fusion", *quick).code == 0
    config = tmp_path / "run" / "config.json"
    assert json.loads(config.read_text())["config"]["fusion"] is None
    argv = ["in", "-o", "out", "--config", str(config)]
    assert parse(argv).settings.fusion is None
    assert parse([*argv, "--fusion"]).settings.fusion == FusionConfig()


def test_the_default_preset_depends_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert parse(["in", "-o", "out"]).settings == PRESETS["cpu"]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert parse(["in", "-o", "out"]).settings == PRESETS["fast"]()
    assert parse(["in", "-o", "out", "--device", "cpu"]).settings == PRESETS["cpu"]()


def test_render_writes_every_frame_of_a_transforms_file(
    ds4d: Callable, finished_run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    done = ds4d("render", finished_run, "--transforms", sample_folder / "transforms_test.json", "-o", tmp_path / "out")
    assert done.code == 0 and "wrote 24 files into" in done.out
    frames = json.loads((sample_folder / "transforms_test.json").read_text())["frames"]
    for frame in frames:
        assert image_size(tmp_path / "out" / f"{frame['file_path']}.png") == (48, 48)
    alphas = read_rgba(tmp_path / "out" / f"{frames[0]['file_path']}.png")[..., 3]
    assert (alphas == 0).any() and (alphas > 200).any()


def test_render_needs_a_size_where_the_file_has_none(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]
    frames = [{"file_path": f"./r_{i}", "time": i / 2, "transform_matrix": matrix} for i in range(3)]
    path = tmp_path / "transforms_path.json"
    path.write_text(json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    done = ds4d("render", finished_run, "--transforms", path, "-o", tmp_path / "out")
    assert done.code == 2 and "w and h" in done.err
    assert not (tmp_path / "out").exists()
    assert ds4d("render", finished_run, "--transforms", path, "-o", tmp_path / "out", "--size", 40).code == 0
    assert image_size(tmp_path / "out" / "r_2.png") == (40, 40)


def test_eval_agrees_with_scores_of_rendered_files(
    ds4d: Callable, run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    """An independent program scores the files that `ds4d render` writes."""
    if not SCORE_VIEWS.is_file():
        pytest.skip(f"needs {SCORE_VIEWS}")
    done = ds4d("eval", run, "--data", sample_folder)
    assert done.code == 0 and "mean of 4 views" in done.out
    ours = json.loads((run / "eval.json").read_text())
    assert ds4d("render", run, "--transforms", sample_folder / "transforms_test.json", "-o", tmp_path).code == 0
    score = [sys.executable, SCORE_VIEWS, tmp_path, sample_folder, "--json", tmp_path / "scores.json"]
    subprocess.run(score, check=True, capture_output=True)
    theirs = json.loads((tmp_path / "scores.json").read_text())
    assert ours["images"] == theirs["total"]["images"] == 24
    for name in METRICS:
        assert ours["total"][name] == pytest.approx(theirs["total"][name], abs=1e-3), name
        for view, scores in theirs["views"].items():
            assert ours["views"][view][name] == pytest.approx(scores[name], abs=1e-3), (view, name)


def test_eval_prints_and_writes_its_table(ds4d: Callable, run: Path, sample_folder: Path) -> None:
    done = ds4d("eval", run, "--data", sample_folder, "--split", "front")
    record = json.loads((run / "eval.json").read_text())
    assert record["split"] == "front" and set(record["total"]) == set(METRICS)
    head, row, _, wrote, render, report = done.out.splitlines()
    assert wrote == f"wrote {run / 'eval.json'}" and render.startswith(f"next: ds4d render {run} ")
    assert report == f"next: ds4d report {run}"
    assert head.split() == ["view", *METRICS]
    assert row.split()[0] == "front" and float(row.split()[1]) == pytest.approx(record["total"]["psnr"], abs=1e-3)


def test_sample_writes_an_input(ds4d: Callable, tmp_path: Path) -> None:
    done = ds4d("sample", tmp_path / "data", "--frames", 2, "--size", 24, "--supersampling", 1)
    assert done.code == 0 and f"ds4d generate {tmp_path / 'data'}" in done.out
    assert (tmp_path / "data" / "transforms_mv.json").is_file() and (tmp_path / "data" / "front.mp4").is_file()


def test_info_lists_versions_and_extras(ds4d: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ds4d("info")
    assert done.code == 0
    assert f"ds4d {__version__}" in done.out and f"torch {torch.__version__}" in done.out
    assert "extra log: installed" in done.out and "extra dev: installed" in done.out
    from ds4d.cli.commands import info

    installed_version = info.installed_version
    monkeypatch.setattr(
        info, "installed_version", lambda name: None if name == "tensorboard" else installed_version(name)
    )
    assert re.search(r"extra log: missing tensorboard\..*\[log\]", ds4d("info").out)
