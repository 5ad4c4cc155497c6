"""Protocols over sets of objects: layouts, results of every kind, failures, frames, weights."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ds4d.evaluation import (
    PROTOCOLS,
    ProtocolConfig,
    ProtocolScores,
    compare_methods,
    comparison_table,
    markdown,
    read_scores,
    run_protocol,
    write_scores,
)
from ds4d.evaluation.candidates import Candidate
from ds4d.evaluation.comparison import bootstrap_interval
from ds4d.evaluation.truths import read_truths
from ds4d.export import write_ply
from ds4d.io import write_png, write_video
from ds4d.metrics.i3d import I3d
from ds4d.types import RawGaussians

CPU = torch.device("cpu")
PLAIN = ("psnr", "ssim", "iou")


def score(protocol: str, result: Path, data: Path, **settings) -> ProtocolScores:
    return run_protocol(protocol, result, data, ProtocolConfig(**settings), CPU)


@pytest.fixture
def objects(tmp_path: Path, sample_folder: Path) -> Path:
    """Three objects, all alike."""
    for name in ("ant", "bee", "cat"):
        shutil.copytree(sample_folder, tmp_path / "truth" / name)
    return tmp_path / "truth"


def test_the_truth_scores_best_against_itself(sample_folder: Path) -> None:
    scores = score("views", sample_folder, sample_folder, metrics=(*PLAIN, "motion_error"))
    assert scores.layout == "transforms" and scores.total["psnr"] == pytest.approx(60)
    assert scores.total["iou"] == 1 and scores.total["motion_error"] == 0
    (only,) = scores.objects
    assert sorted(only.views) == ["test0", "test1", "test2", "test3"] and only.frames == 6


def test_failures_are_counted_and_in_no_mean(objects: Path, tmp_path: Path, sample_folder: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(sample_folder, results / "ant")
    shutil.copytree(sample_folder, results / "bee")
    next((results / "bee" / "test").glob("*.png")).write_bytes(b"damaged")
    scores = score("views", results, objects, metrics=PLAIN)
    assert [each.name for each in scores.failed] == ["bee", "cat"] and all(each.error for each in scores.failed)
    assert scores.counts["psnr"] == 1 and scores.total["psnr"] == pytest.approx(60)
    text = markdown(scores)
    assert "(1 of 3)" in text and "- cat: " in text


def test_a_run_and_its_rendered_images_score_alike(
    finished_run: Path, sample_folder: Path, tmp_path: Path, ds4d_main: Callable
) -> None:
    assert (
        ds4d_main("render", finished_run, "--transforms", sample_folder / "transforms_test.json", "-o", tmp_path) == 0
    )
    run, images = (score("views", path, sample_folder, metrics=PLAIN) for path in (finished_run, tmp_path))
    assert run.total == pytest.approx(images.total) and 15 < run.total["psnr"] < 60


@pytest.fixture
def ds4d_main() -> Callable[..., int]:
    from ds4d.cli import main

    return lambda *argv: main([str(word) for word in argv])


def test_gaussians_of_each_frame_are_rendered(finished_run: Path, sample_folder: Path, tmp_path: Path) -> None:
    from ds4d.geometry import inverse_similarity, transform_gaussians
    from ds4d.scene import BakedGaussians

    scene = BakedGaussians.load(finished_run)
    for index, time in enumerate(scene.timeline.times):
        raw = scene.raw_at(torch.tensor([time]))
        sh = raw.sh[0] if raw.sh.ndim == 4 else raw.sh
        frame = RawGaussians(raw.means[0], raw.quats[0], raw.log_scales[0], raw.opacity_logits[0], sh)
        write_ply(transform_gaussians(inverse_similarity(scene.world), frame), tmp_path / f"frame{index + 1:04d}.ply")
    run, files = (score("views", path, sample_folder, metrics=PLAIN) for path in (finished_run, tmp_path))
    assert files.total == pytest.approx(run.total, rel=2e-3)
    points = Candidate(tmp_path, CPU).points(6, 6)
    assert points.tracked and len(points.frames) == 6
    of_run = Candidate(finished_run, CPU).points(6, 6)
    np.testing.assert_allclose(points.frames[3], of_run.frames[3], atol=1e-5)


def images_of(folder: Path, levels: list[int], *, size: int = 24, alpha: bool = True) -> None:
    """Frames 0.png, 1.png and so on: a gray square in the middle."""
    for index, level in enumerate(levels):
        frame = np.zeros((size, size, 4), np.uint8)
        frame[6:18, 6:18] = (level, level, level, 255)
        if not alpha:
            frame = np.where(frame[..., 3:] == 255, frame[..., :3], 255).astype(np.uint8)
        write_png(folder / f"{index}.png", frame)


def test_consistent4ds_layout(tmp_path: Path) -> None:
    """Frames are ordered by number, composited on white, and as many as --frames says are compared."""
    for view in range(4):
        images_of(tmp_path / "gt" / "skull" / f"eval_{view}", [10 * i for i in range(12)])
        images_of(tmp_path / "ours" / "skull" / f"eval_{view}", [10 * i for i in range(11)] + [255], alpha=False)
    truth = read_truths(tmp_path / "gt", "test")[1]["skull"]
    assert list(truth.views) == [f"eval_{view}" for view in range(4)]
    few, all_ = (
        score("consistent4d", tmp_path / "ours", tmp_path / "gt", frames=frames, metrics=("ssim_joint_range",))
        for frames in (11, 12)
    )
    assert few.total["ssim_joint_range"] == pytest.approx(1) and all_.total["ssim_joint_range"] < 0.999
    assert few.objects[0].frames == 11


def test_images_without_alpha_have_no_silhouette(tmp_path: Path) -> None:
    images_of(tmp_path / "gt" / "eval_0", [0, 100])
    images_of(tmp_path / "ours" / "eval_0", [0, 100], alpha=False)
    scores = score("views", tmp_path / "ours", tmp_path / "gt", metrics=PLAIN)
    assert scores.total["psnr"] == pytest.approx(60) and math.isnan(scores.total["iou"])
    assert "alpha" in scores.not_computed["iou"] and scores.counts["iou"] == 0


@pytest.mark.parametrize(("frames", "size", "word"), [(3, 24, "frames"), (4, 20, "size")])
def test_other_sizes_and_numbers_of_frames_are_failures(tmp_path: Path, frames: int, size: int, word: str) -> None:
    images_of(tmp_path / "gt" / "eval_0", [0] * 4)
    images_of(tmp_path / "ours" / "eval_0", [0] * frames, size=size)
    scores = score("views", tmp_path / "ours", tmp_path / "gt", metrics=PLAIN)
    assert word in scores.failed[0].error and not any(scores.counts.values())


class Program(nn.Module):
    """Takes what StyleGAN-V's I3D takes."""

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        assert not rescale and not resize and return_features
        return torch.nn.functional.adaptive_avg_pool3d(x, (2, 3, 3)).flatten(1)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    monkeypatch.setenv("DS4D_WEIGHTS", str(folder))
    return folder


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_videos_are_cut_into_clips(tmp_path: Path, weights: Path) -> None:
    """V2M4: clips of one length, what remains is dropped; FVD of the set by a TorchScript program."""
    (weights / "i3d-styleganv").mkdir(parents=True)
    torch.jit.script(Program()).save(weights / "i3d-styleganv" / "i3d_torchscript.pt")
    frames = [np.full((32, 32, 3), 8 * i, np.uint8) for i in range(26)]
    write_video(tmp_path / "gt" / "dance.mp4", frames, 12.0)
    write_video(tmp_path / "ours" / "dance.mp4", frames, 12.0)
    write_video(tmp_path / "dark" / "dance.mp4", [frame // 2 for frame in frames], 12.0)
    assert "32 frames" in score("v2m4", tmp_path / "ours", tmp_path / "gt").failed[0].error
    same, dark = (
        run_protocol("v2m4", tmp_path / name, tmp_path / "gt", ProtocolConfig(frames=12), CPU)
        for name in ("ours", "dark")
    )
    assert same.total["fvd_styleganv"] == pytest.approx(0, abs=1e-6) and dark.total["fvd_styleganv"] > 0.1
    assert list(same.objects[0].views) == ["dance-0", "dance-1"]
    assert list(same.weights) == ["i3d-styleganv"] and "lpips" in same.not_computed


def test_i3d_is_loaded_from_a_file_in_videogpts_layout(tmp_path: Path, weights: Path, rng: np.random.Generator) -> None:
    network = I3d.__new__(I3d)
    with pytest.raises(ValueError, match="i3d_pretrained_400"):
        I3d.__init__(network, {})
    (weights / "i3d").mkdir(parents=True)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, weights / "i3d" / "i3d_pretrained_400.pt")
    images_of(tmp_path / "gt" / "eval_0", [20 * i for i in range(10)])
    images_of(tmp_path / "ours" / "eval_0", [20 * (9 - i) for i in range(10)])
    scores = score("consistent4d", tmp_path / "ours", tmp_path / "gt", metrics=("fvd_consistent4d", "fvd_v"))
    assert scores.total["fvd_consistent4d"] > 0 and len(scores.weights["i3d"]) == 64
    assert "10" in scores.not_computed["fvd_v"]  # one view is no clip


def test_clip_is_loaded_from_a_folder_of_the_hubs_layout(tmp_path: Path, weights: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 40, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=512,
    )
    network = transformers.CLIPModel(config).eval()
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    network.save_pretrained(weights / "clip")
    processor.save_pretrained(weights / "clip")
    images_of(tmp_path / "gt" / "eval_0", [0, 100], size=40)
    images_of(tmp_path / "ours" / "eval_0", [200, 30], size=40)
    scores = score("consistent4d", tmp_path / "ours", tmp_path / "gt", metrics=("clip",))
    expected = []
    for index in range(2):
        both = []
        for side in ("ours", "gt"):
            image = Image.open(tmp_path / side / "eval_0" / f"{index}.png")
            white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            pixels = processor(white.resize((512, 512)), return_tensors="pt")
            with torch.no_grad():
                features = network.get_image_features(**pixels)
            both.append(getattr(features, "pooler_output", features))
        expected.append(float(torch.cosine_similarity(*both)))
    assert scores.total["clip"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_damaged_weights_are_an_error_of_the_command(tmp_path: Path, weights: Path) -> None:
    (weights / "i3d").mkdir(parents=True)
    torch.save({"other": torch.zeros(3)}, weights / "i3d" / "i3d_pretrained_400.pt")
    images_of(tmp_path / "gt" / "eval_0", [0] * 10)
    with pytest.raises(ValueError, match="I3D"):
        score("consistent4d", tmp_path / "gt", tmp_path / "gt")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_without_weights_are_listed(protocol: str, sample_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(3, 50, 3)))
    data = tmp_path if protocol == "tracks" else sample_folder
    scores = score(protocol, tmp_path / "nothing", data, frames=3)
    assert set(scores.total) == set(PROTOCOLS[protocol].metrics) == set(scores.not_computed)
    assert scores.failed and all(scores.not_computed.values())


@pytest.fixture
def swing(tmp_path: Path, glb) -> tuple[Path, np.ndarray]:
    """An animated triangle that moves by 1 along x, and its true points, sampled densely."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    mesh = {"primitives": [{"attributes": {"POSITION": glb.add(corners)}, "indices": glb.add([0, 1, 2], "u2")}]}
    sampler = {"input": glb.add(np.array([0, 1], np.float32)), "output": glb.add([[0, 0, 0], [1, 0, 0]])}
    channel = {"sampler": 0, "target": {"node": 0, "path": "translation"}}
    glb.json |= {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [mesh],
        "animations": [{"samplers": [sampler], "channels": [channel]}],
    }
    (tmp_path / "model").mkdir()
    file = glb.write(tmp_path / "model" / "swing.glb")
    weights = np.random.default_rng(0).dirichlet((1, 1, 1), 3000)
    track = (weights @ corners)[None] + np.linspace(0, 1, 5)[:, None, None] * np.array([1.0, 0, 0])
    return file, track


def test_an_animated_model_against_tracked_points(tmp_path: Path, swing: tuple[Path, np.ndarray]) -> None:
    file, track = swing
    (tmp_path / "truth").mkdir()
    np.save(tmp_path / "truth" / "surfaces.npy", np.concatenate((track, np.zeros_like(track)), -1))  # and normals
    metrics = ("cd_4d_raw", "cd_m_raw", "track_error_raw", "apd_raw", "f_score_raw")
    scores = score("tracks", file, tmp_path / "truth", metrics=metrics)
    assert scores.layout == "actionbench" and not scores.failed
    assert scores.total["track_error_raw"] == pytest.approx(0, abs=1e-6) and scores.total["apd_raw"] == 1
    assert scores.total["cd_m_raw"] < 0.04 and scores.total["f_score_raw"] > 0.95
    first = score("tracks", file.parent, tmp_path / "truth", metrics=metrics, frames=3)  # of the same five times
    assert first.total["track_error_raw"] == pytest.approx(0, abs=1e-6) and first.objects[0].frames == 3
    assert "6" in score("tracks", file, tmp_path / "truth", metrics=metrics, frames=6).failed[0].error


def test_shapes_without_identity_have_no_tracks(tmp_path: Path, creature_at: Callable) -> None:
    (tmp_path / "shapes").mkdir()
    for index, time in enumerate((0.0, 0.5, 1.0)):
        mesh = creature_at(time)
        if index == 1:
            mesh.update_faces(np.arange(len(mesh.faces)) > 3)
        mesh.export(tmp_path / "shapes" / f"{index}.glb")
    points = np.stack([np.asarray(creature_at(time).vertices)[:500] for time in (0.0, 0.5, 1.0)])
    (tmp_path / "truth").mkdir()
    np.save(tmp_path / "truth" / "points.npy", points.astype(np.float16))
    scores = score("tracks", tmp_path / "shapes", tmp_path / "truth", metrics=("cd_4d_raw", "cd_m_raw"))
    assert scores.total["cd_4d_raw"] > 0 and "identity" in scores.not_computed["cd_m_raw"]
    few = score("tracks", tmp_path / "shapes", tmp_path / "truth", metrics=("cd_4d_raw",), frames=2)
    assert few.objects[0].frames == 2


def test_a_run_against_tracked_points(finished_run: Path, tmp_path: Path, creature_at: Callable) -> None:
    track = np.stack([np.asarray(creature_at(time).vertices) for time in np.linspace(0, 1, 6)])
    np.save(tmp_path / "points.npy", track)
    scores = score("tracks", finished_run, tmp_path, metrics=("cd_4d_raw", "track_error_raw"))
    assert 0 < scores.total["cd_4d_raw"] < 0.2  # of an object of about 1: the same world


@pytest.mark.parametrize(
    ("protocol", "metrics", "match"),
    [("views", ("cd_3d",), "cd_3d"), ("tracks", ("psnr",), "psnr"), ("views", ("speed",), "speed")],
)
def test_metrics_of_other_protocols_are_refused(
    sample_folder: Path, protocol: str, metrics: tuple[str, ...], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        score(protocol, sample_folder, sample_folder, metrics=metrics)


def test_a_folder_of_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="consistent4d"):
        read_truths(tmp_path, "test")


@pytest.mark.parametrize("array", [np.zeros((4, 3)), np.zeros((2, 5, 2)), np.full((2, 5, 3), np.nan)])
def test_damaged_points_are_failures(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "points.npy", array)
    assert "points.npy" in score("tracks", tmp_path, tmp_path).failed[0].error


def test_points_that_the_file_does_not_hold_are_not_allocated(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.zeros((9, 9, 3)))
    content = (tmp_path / "points.npy").read_bytes()
    (tmp_path / "points.npy").write_bytes(content.replace(b"(9, 9, 3), }       ", b"(9999999, 9, 3), } "))
    assert "points.npy" in score("tracks", tmp_path, tmp_path).failed[0].error
    (tmp_path / "points.npy").write_bytes(content[:-8])
    assert "points.npy" in score("tracks", tmp_path, tmp_path).failed[0].error


def made_scores(values: dict[str, float], failed: tuple[str, ...] = ()) -> ProtocolScores:
    """Scores of psnr alone."""
    from ds4d.evaluation.protocols import ObjectScores

    objects = [ObjectScores(name, frames=6, values={"psnr": value}) for name, value in values.items()]
    objects += [ObjectScores(name, error="nothing there") for name in failed]
    objects.sort(key=lambda each: each.name)
    mean = float(np.mean(list(values.values())))
    return ProtocolScores(
        "views", "transforms", ProtocolConfig(), tuple(objects), {"psnr": mean}, {"psnr": len(values)}, {}, {}
    )


def test_scores_survive_their_file(tmp_path: Path, sample_folder: Path) -> None:
    scores = score("views", sample_folder, sample_folder, metrics=("psnr", "psnr_target_range", "lpips"))
    paths = write_scores(tmp_path / "out", scores, [])
    assert [path.name for path in paths] == ["results.json", "results.csv", "results.md", "results.html"]
    again = read_scores(tmp_path / "out")
    assert again.total["psnr_target_range"] == math.inf and math.isnan(again.total["lpips"])
    assert again.objects[0].views.keys() == scores.objects[0].views.keys() and again.config == scores.config
    json.loads(paths[0].read_text())
    rows = paths[1].read_text().splitlines()
    assert rows[0] == "object,view,metric,value,error" and any(row.startswith("all,,psnr,60") for row in rows)


def test_differences_are_paired_by_object() -> None:
    a = made_scores({"ant": 20.0, "bee": 30.0, "cat": 25.0})
    b = made_scores({"ant": 21.0, "bee": 33.0}, failed=("cat",))
    found = compare_methods({"a": a, "b": b}, base="a", samples=500, seed=0)["psnr"]["b"]
    assert found.mean == 27.0 and found.objects == 2 and found.failed == 1  # 27 > 25, of easier objects too
    assert found.difference == pytest.approx(2.0) and found.units == 2  # paired: 1 and 3
    assert (found.low, found.high) == (1.0, 3.0)
    assert "27.00" in comparison_table(compare_methods({"a": a, "b": b}, base="a", samples=500, seed=0), "a")


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(1.0, 2.0, 400)
    low, high = bootstrap_interval(values.tolist(), 4000, 0)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert all(map(math.isnan, bootstrap_interval([1.0], 100, 0)))


def test_methods_that_were_scored_differently_are_refused() -> None:
    from dataclasses import replace

    a = made_scores({"ant": 20.0})
    for other, match in (
        (replace(a, config=ProtocolConfig(frames=30)), "frames"),
        (made_scores({"bee": 20.0}), "objects"),
        (replace(a, protocol="consistent4d"), "protocol"),
    ):
        with pytest.raises(ValueError, match=match):
            compare_methods({"a": a, "b": other}, base="a", samples=100, seed=0)
    theirs = replace(a, weights={"i3d": "1"})
    with pytest.raises(ValueError, match="weights"):
        compare_methods({"a": replace(a, weights={"i3d": "2"}), "b": theirs}, base="a", samples=100, seed=0)


def test_meshes_are_rendered_at_the_cameras_of_the_truth(
    sample_folder: Path, tmp_path: Path, creature_at: Callable
) -> None:
    """The creature itself, one GLB per frame: its silhouette is the truth's, and better than that of other times."""
    scores = {}
    for name, order in {"right": range(6), "backwards": range(5, -1, -1)}.items():
        (tmp_path / name).mkdir()
        for index, frame in enumerate(order):
            creature_at(frame / 5).export(tmp_path / name / f"{index}.glb")
        scores[name] = score("views", tmp_path / name, sample_folder, metrics=PLAIN)
        assert not scores[name].failed
    assert scores["right"].total["iou"] > 0.94  # the balls of the mesh lie inside the true ones
    assert scores["backwards"].total["iou"] < scores["right"].total["iou"] - 0.02


def test_an_animated_mesh_is_rendered_at_the_times_of_the_frames(
    sample_folder: Path, tmp_path: Path, swing: tuple[Path, np.ndarray]
) -> None:
    """It moves out of a camera's image: one that stands still would look the same in all frames."""
    file, _ = swing
    truth = read_truths(sample_folder, "test")[1][sample_folder.resolve().name]
    view = next(iter(truth.views))
    images = Candidate(file, CPU).frames(truth, view, 6)
    assert images.shape == truth.views[view]().shape and images[0, ..., 3].any()
    assert len({image.tobytes() for image in images}) == 6
    few = Candidate(file, CPU).frames(truth, view, 3)
    np.testing.assert_array_equal(few, images[:3])
