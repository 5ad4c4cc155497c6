"""Zero123++ from a video to a clip, on tiny random networks of the real classes; the contract suite holds the rest."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ds4d.geometry import orbit_cameras
from ds4d.multiview.zero123plus import Zero123Plus, Zero123PlusConfig
from ds4d.multiview.zero123plus.layout import condition_image, grid_cameras, input_camera, split_grid
from ds4d.multiview.zero123plus.networks import Zero123PlusNetworks
from ds4d.multiview.zero123plus.sampling import sample_grids
from ds4d.types import ArrayFrames, MultiViewVideo, Video

CPU = torch.device("cpu")


def generator(folder: Path, **changes: Any) -> Zero123Plus:
    return Zero123Plus(Zero123PlusConfig(**{"folder": folder, "view_size": 64, "steps": 2, **changes}), CPU)


def images(clip: MultiViewVideo) -> np.ndarray:
    """All views besides the video: [T, V, H, W, 4]."""
    return np.stack([[clip.frames.read(t, v) for v in range(1, clip.num_views)] for t in range(clip.num_times)])


def made(folder: Path, video: Video, seed: int = 0, **changes: Any) -> np.ndarray:
    return images(generator(folder, **changes).generate(video, seed=seed).video)


@pytest.fixture(scope="module")
def usual(tiny_zero123plus: Path, video: Video) -> np.ndarray:
    """The views that seed 0 gives."""
    return made(tiny_zero123plus, video)


def test_views_depend_on_the_seed_alone(tiny_zero123plus: Path, video: Video, usual: np.ndarray) -> None:
    torch.manual_seed(123)
    np.testing.assert_array_equal(made(tiny_zero123plus, video, offload=True), usual)
    assert (made(tiny_zero123plus, video, seed=1) != usual).mean() > 0.1


@pytest.mark.parametrize(
    "changes", [{"steps": 3}, {"guidance": 1.0}, {"anchor": None}], ids=lambda changes: next(iter(changes))
)
def test_settings_change_the_views(
    tiny_zero123plus: Path, video: Video, usual: np.ndarray, changes: dict[str, Any]
) -> None:
    assert (made(tiny_zero123plus, video, **changes) != usual).any()


@torch.no_grad()
def test_views_are_the_sheets_tiles_without_their_background(
    tiny_zero123plus: Path, networks: Zero123PlusNetworks, video: Video
) -> None:
    frames = _large(video)
    noise = torch.Generator().manual_seed(7)
    condition = networks.encode([condition_image(frame, 512) for frame in frames[:, 0]], noise)
    latents = sample_grids(
        networks, condition, noise, height=192, width=128, steps=2, guidance=4.0, anchor=0, batch_size=4
    )
    views = made(tiny_zero123plus, Video(ArrayFrames(frames), fps=6.0), seed=7)
    for time, grid in enumerate(networks.decode(latents)):
        tiles = split_grid((grid * 255).round().byte().movedim(0, -1).numpy())
        solid = views[time, ..., 3] == 255
        assert solid.any(axis=(1, 2)).all()
        np.testing.assert_array_equal(views[time, ..., :3][solid], tiles[solid])


def _large(video: Video) -> np.ndarray:
    """The video's frames at 64 pixels."""
    frames = np.stack([video.frames.read(time, 0) for time in range(video.num_times)])
    return np.pad(frames, ((0, 0), (12, 12), (12, 12), (0, 0)))[:, None]


def test_the_input_camera_moves_the_rig_and_not_the_images(
    tiny_zero123plus: Path, video: Video, usual: np.ndarray
) -> None:
    raised = orbit_cameras([0.0], [20.0], fovy_deg=49.1, distance=2.0, width=40, height=40)
    clip = generator(tiny_zero123plus).generate(replace(video, camera=raised), seed=0).video
    np.testing.assert_array_equal(images(clip), usual)
    torch.testing.assert_close(clip.cameras.viewmats[0, :1], raised.viewmats)
    level = grid_cameras(input_camera(video), "v1.1")
    torch.testing.assert_close(clip.cameras.viewmats[0, 1:], level.viewmats[1:], atol=1e-5, rtol=1e-5)


def test_version_1_2_estimates_its_distance(tiny_zero123plus: Path, video: Video) -> None:
    one = Video(ArrayFrames(video.frames.read(0, 0)[None, None]), fps=6.0)
    clip = generator(tiny_zero123plus, version="v1.2").generate(one, seed=0).video
    assert clip.cameras.is_static
    distances = clip.cameras.viewmats[0, 1:, 2, 3]
    fovs = 2 * torch.rad2deg(torch.atan(20 / clip.cameras.Ks[0, 1:, 1, 1]))
    torch.testing.assert_close(distances, distances[:1].expand(6))
    torch.testing.assert_close(fovs, torch.full((6,), 30.0))
    same_size = 2 * np.tan(np.radians(49.1 / 2)) / np.tan(np.radians(15))
    assert float(distances[0]) != pytest.approx(same_size, rel=0.02)  # random views are larger than the disc


def test_a_missing_model_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Zero123\+\+ v1\.2 .* model_index\.json is missing.*hf download sudo-ai/zero123plus-v1\.2"):  # fmt: skip # noqa: E501
        generator(tmp_path, version="v1.2")
    with pytest.raises(ValueError, match=r"Zero123\+\+ v1\.1 \(sudo-ai/zero123plus-v1\.1\) must lie in"):
        Zero123Plus(Zero123PlusConfig(), CPU)


def test_the_folder_of_another_model_is_named(tiny_zero123plus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_zero123plus, folder)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Zero123Pipeline"}))
    with pytest.raises(ValueError, match=f"got another model, whose model_index.json .* in {folder}"):
        generator(folder)
    shutil.copy(tiny_zero123plus / "model_index.json", folder)
    shutil.copy(folder / "vae" / "config.json", folder / "unet" / "config.json")
    with pytest.raises(ValueError, match=r"whose unet/config\.json must say _class_name UNet2DConditionModel"):
        generator(folder)


def test_the_identity_covers_what_decides_the_views(tiny_zero123plus: Path, tmp_path: Path) -> None:
    own = generator(tiny_zero123plus).identity
    for harmless in ({"offload": True}, {"batch_size": 1}, {"half": False}):
        assert generator(tiny_zero123plus, **harmless).identity == own
    for change in ({"steps": 3}, {"guidance": 2.0}, {"anchor": None}, {"version": "v1.2"}):
        assert generator(tiny_zero123plus, **change).identity != own
    shutil.copytree(tiny_zero123plus, tmp_path / "other")
    assert generator(tmp_path / "other").identity == own
    settings = tmp_path / "other" / "scheduler" / "scheduler_config.json"
    settings.write_text(settings.read_text().replace("v_prediction", "epsilon"))
    assert generator(tmp_path / "other").identity != own
    (tmp_path / "net.onnx").write_bytes(b"network")
    assert Zero123Plus(generator(tiny_zero123plus).config, CPU, tmp_path / "net.onnx").identity != own


def test_an_anchor_that_is_no_frame_is_refused(tiny_zero123plus: Path, video: Video) -> None:
    with pytest.raises(ValueError, match="anchor"):
        generator(tiny_zero123plus, anchor=3).generate(video, seed=0)


def test_an_empty_mask_is_refused(tiny_zero123plus: Path, video: Video) -> None:
    frames = _large(video).copy()
    frames[1] = 0
    with pytest.raises(ValueError, match="frame 1 "):
        generator(tiny_zero123plus).generate(replace(video, frames=ArrayFrames(frames)), seed=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps must be"),
        ({"guidance": 0.5}, "guidance must be"),
        ({"anchor": -1}, "anchor must be"),
        ({"view_size": 100}, "view_size must be a multiple of 64, got 100"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"{words}"):
        Zero123PlusConfig(**changes)
