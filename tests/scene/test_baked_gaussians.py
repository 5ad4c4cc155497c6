"""Scenes as the Gaussians of their frames."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ds4d.fusion import FusionConfig
from ds4d.scene import BakedGaussians, DynamicGaussians
from ds4d.types import Cameras, RawGaussians

MakeScene = Callable[..., DynamicGaussians]


@pytest.mark.parametrize("fusion", [None, FusionConfig(channels=4)], ids=["hexplane", "features"])
def test_baked_frames_equal_the_scene(
    tmp_path: Path,
    make_scene: MakeScene,
    tiny_cameras: Cameras,
    assert_close: Callable[..., None],
    fusion: FusionConfig | None,
) -> None:
    scene = make_scene(fusion=fusion, cameras=tiny_cameras if fusion else None)
    scene.save(tmp_path)
    baked, loaded = BakedGaussians.load(tmp_path), DynamicGaussians.load(tmp_path)
    frames = torch.tensor(scene.timeline.times)
    assert_close(baked.at(frames), loaded.at(frames), 1e-5)
    assert (baked.timeline, baked.world.scale) == (scene.timeline, scene.world.scale)


def test_times_between_frames_are_interpolated(make_scene: MakeScene) -> None:
    scene = make_scene()
    ends = scene.raw_at(torch.tensor([0.2, 0.7]))
    between = scene.bake().raw_at(torch.tensor([0.45]))
    torch.testing.assert_close(between.means[0], ends.means.mean(0))
    torch.testing.assert_close(between.sh[0], ends.sh.mean(0))


def test_static_scene_is_baked(make_scene: MakeScene, tiny_gaussians: RawGaussians) -> None:
    baked = make_scene(None).bake()
    assert baked.frames.means.shape == (4, 12, 3)
    assert torch.equal(baked.raw_at(torch.tensor([0.3])).sh, tiny_gaussians.sh)


def test_frames_of_another_scene_raise(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene().save(tmp_path)
    path = tmp_path / "baked.safetensors"
    save_file({name: tensor[:2].clone() for name, tensor in load_file(path).items()}, path)
    with pytest.raises(ValueError, match=r"baked\.safetensors"):
        BakedGaussians.load(tmp_path)
