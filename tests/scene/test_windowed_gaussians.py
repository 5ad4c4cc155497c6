"""Scenes in windows: which of them is shown at a time, and how they are joined."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.scene import (
    BakedGaussians,
    DynamicGaussians,
    Timeline,
    WindowedGaussians,
    WindowsRecord,
    endless_lifetimes,
    read_baked_scene,
    read_scene,
    window_folder,
    windows_file,
    write_windows,
)
from ds4d.scene.files import WorldRecord
from ds4d.scene.lifetimes import FOREVER
from ds4d.types import RawGaussians

TIMES = tuple(i / 9 for i in range(10))
WINDOWS = ((0, 4), (3, 7), (5, 9))


@pytest.fixture
def clip(tmp_path: Path, tiny_gaussians: RawGaussians, make_scene: Callable[..., DynamicGaussians]) -> Path:
    """Three windows in each of which nothing moves, at heights 0, 1 and 2 above where the Gaussians are."""
    world = make_scene().world
    for index, (first, last) in enumerate(WINDOWS):
        count = last - first + 1
        means = tiny_gaussians.means + torch.tensor([0.0, float(index), 0.0])
        timeline = Timeline(tuple(i / (count - 1) for i in range(count)), 1.0, False)
        folder = window_folder(tmp_path, index)
        folder.mkdir(parents=True)
        DynamicGaussians(replace(tiny_gaussians, means=means), None, timeline, world).save(folder)
    record = WindowsRecord(1, tiny_gaussians.num_gaussians, WINDOWS, Timeline(TIMES, 3.0, True), WorldRecord.of(world))
    write_windows(tmp_path, record)
    return tmp_path


@pytest.mark.parametrize("read", [read_scene, read_baked_scene])
def test_each_time_is_shown_by_its_window_and_joints_are_blended(
    clip: Path, read: Callable[[Path], WindowedGaussians], tiny_gaussians: RawGaussians
) -> None:
    scene = read(clip)
    assert isinstance(scene, WindowedGaussians)
    frames = torch.tensor([0.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 9.0])
    raw = scene.raw_at(frames / 9)
    heights = (raw.means - tiny_gaussians.means)[..., 1]
    smooth = 0.25**2 * (3 - 2 * 0.25)  # a quarter of the way over the second joint
    expected = torch.tensor([0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1 + smooth, 1.5, 2.0, 2.0])
    torch.testing.assert_close(heights, expected[:, None].expand_as(heights), rtol=0, atol=1e-5)
    for name in ("quats", "log_scales", "opacity_logits"):
        values = getattr(tiny_gaussians, name)
        torch.testing.assert_close(getattr(raw, name), values.expand(len(frames), *values.shape))
    torch.testing.assert_close(raw.sh, tiny_gaussians.sh)
    assert (scene.timeline.loops, scene.timeline.duration) == (True, 3.0)


def test_opposite_quaternions_are_blended_as_the_one_rotation_they_are(
    clip: Path, tiny_gaussians: RawGaussians, make_scene: Callable[..., DynamicGaussians]
) -> None:
    folder, timeline = window_folder(clip, 1), Timeline((0.0, 0.25, 0.5, 0.75, 1.0), 1.0, False)
    turned = replace(tiny_gaussians, quats=-tiny_gaussians.quats)
    DynamicGaussians(turned, None, timeline, make_scene().world).save(folder)
    middle = read_baked_scene(clip).raw_at(torch.tensor([3.5 / 9]))
    torch.testing.assert_close(middle.quats[0], turned.quats)


def test_two_windows_are_in_memory_at_a_time(clip: Path) -> None:
    read: list[str] = []

    def load(folder: Path, device: torch.device | str) -> BakedGaussians:
        read.append(folder.name)
        return BakedGaussians.load(folder, device)

    scene = WindowedGaussians(clip, load)
    for frame in (0.0, 3.2, 3.4, 4.0, 5.5, 6.0, 9.0):
        scene.raw_at(torch.tensor([frame / 9]))
    assert read == ["0000", "0001", "0002"], "each once while time passes"
    scene.raw_at(torch.tensor([0.0]))
    assert read[-1] == "0000", "which was forgotten"


@pytest.mark.parametrize(
    ("key", "value"),
    [("windows", [[0, 4], [5, 9]]), ("windows", [[0, 4], [3, 8]]), ("windows", [[0, 4], [3, 7], [4, 9]]),
     ("windows", []), ("windows", [[0, 9, 9]]), ("num_gaussians", 0), ("format", 2), ("more", 1)],
)  # fmt: skip
def test_a_record_that_describes_no_clip_is_refused(clip: Path, key: str, value: object) -> None:
    content = json.loads(windows_file(clip).read_text())
    windows_file(clip).write_text(json.dumps({**content, key: value}))
    with pytest.raises(ValueError, match=r"windows\.json"):
        read_scene(clip)


def test_a_window_of_another_scene_is_refused(clip: Path) -> None:
    content = json.loads(windows_file(clip).read_text())
    windows_file(clip).write_text(json.dumps({**content, "num_gaussians": 5}))
    with pytest.raises(ValueError, match="0000 must hold 5 Gaussians"):
        read_scene(clip).raw_at(torch.zeros(1))


@pytest.fixture
def growing(clip: Path, tiny_gaussians: RawGaussians, make_scene: Callable[..., DynamicGaussians]) -> Path:
    """The clip, whose first window holds two more Gaussians, born at its second frame, and its last one three more."""
    for index, count in ((0, 2), (2, 3)):
        frames = WINDOWS[index][1] - WINDOWS[index][0]
        rows = torch.cat((torch.arange(12), torch.arange(count)))
        parts = {name: getattr(tiny_gaussians, name)[rows] for name in RawGaussians.__dataclass_fields__}
        parts["means"] = parts["means"] + torch.tensor([0.0, float(index), 0.0])
        parts["opacity_logits"] = parts["opacity_logits"].index_fill(0, torch.arange(12, 12 + count), 1.0)
        timeline = Timeline(tuple(i / frames for i in range(frames + 1)), float(frames), False)
        lifetimes = endless_lifetimes(12 + count)
        lifetimes[12:, 0] = 0.5 if index == 0 else -FOREVER
        scene = DynamicGaussians(RawGaussians(**parts), None, timeline, make_scene().world, lifetimes)
        scene.save(window_folder(clip, index))
    content = json.loads(windows_file(clip).read_text())
    record = {**content, "num_gaussians": 17, "added": [[3, 5], [0, 0], [0, 3]]}
    windows_file(clip).write_text(json.dumps(record))
    return clip


@pytest.mark.parametrize("read", [read_scene, read_baked_scene])
def test_gaussians_of_some_windows_are_transparent_in_others_and_fade_in_at_joints(
    growing: Path, read: Callable[[Path], WindowedGaussians], tiny_gaussians: RawGaussians
) -> None:
    scene = read(growing)
    frames = torch.tensor([0.0, 1.0, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 9.0])
    gaussians, raw = scene.at(frames / 9), scene.raw_at(frames / 9)
    opaque, smooth = torch.tensor(1.0).sigmoid(), 0.25**2 * (3 - 2 * 0.25)
    later = opaque * torch.tensor([0, 0, 0, 0, 0, 0, 0, smooth, 0.5, 1, 1])
    first = opaque * torch.tensor([0, 1, 1, 0.5, 0, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(gaussians.opacities[:, 12:15], later[:, None].expand(-1, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(gaussians.opacities[:, 15:], first[:, None].expand(-1, 2), rtol=0, atol=1e-5)
    assert gaussians.num_gaussians == 17 and (raw.quats.norm(dim=-1) > 0).all()
    heights = (raw.means[:, 12:15] - tiny_gaussians.means[:3])[..., 1]
    torch.testing.assert_close(heights, torch.full_like(heights, 2.0))  # where they appear, at all times
    before = read(growing)
    torch.testing.assert_close(before.raw_at(torch.tensor([0.5])).means[0, 15:], raw.means[0, 15:])


def test_shared_gaussians_are_as_without_the_others(growing: Path, tiny_gaussians: RawGaussians) -> None:
    raw = read_baked_scene(growing).raw_at(torch.tensor([3.5, 4.5, 6.0]) / 9)
    heights = (raw.means[:, :12] - tiny_gaussians.means)[..., 1]
    torch.testing.assert_close(heights, torch.tensor([0.5, 1.0, 1.5])[:, None].expand(-1, 12), rtol=0, atol=1e-5)
    assert torch.equal(raw.opacity_logits[1, :12], tiny_gaussians.opacity_logits)


@pytest.mark.parametrize("added", [[[0, 3]], [[0, 3, 3], [0, 0], [0, 0]], [[3, 2], [0, 0], [0, 0]], [[0, 17]] * 3])
def test_added_gaussians_that_are_none_are_refused(growing: Path, added: object) -> None:
    content = json.loads(windows_file(growing).read_text())
    windows_file(growing).write_text(json.dumps({**content, "added": added}))
    with pytest.raises(ValueError, match=r"windows\.json"):
        read_scene(growing)
