"""A scene that is played: the same Gaussians by a replay as by the scene itself."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
import torch

from ds4d.core import Part, record_graphs
from ds4d.fusion import FusionConfig
from ds4d.scene import DynamicGaussians, LiveScene
from ds4d.types import Cameras

devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
MakeScene = Callable[..., DynamicGaussians]


class Recorder:
    """Counts recordings and replays."""

    def __init__(self, device: str) -> None:
        self._make = record_graphs if device == "cuda" else list
        self.recordings = self.replays = 0

    def __call__(self, parts: Sequence[Part]) -> list[Part]:
        self.recordings += 1
        return [lambda part=part: self._play(part) for part in self._make(parts)]

    def _play(self, part: Part) -> None:
        self.replays += 1
        part()


def at(time: float, device: str) -> torch.Tensor:
    return torch.tensor([time], device=device)


@pytest.fixture
def scene(make_scene: MakeScene, tiny_cameras: Cameras) -> DynamicGaussians:
    """A scene with frame features and a Gaussian that is born late."""
    made = make_scene(fusion=FusionConfig(rule="visible", channels=4), cameras=tiny_cameras)
    made.gaussians.resize(made.num_gaussians, True)
    made.gaussians.lifetimes[:] = torch.tensor([-1e9, 1e9])
    made.gaussians.lifetimes[3] = torch.tensor([1.0, 1e9])
    return made


@devices
def test_replays_give_what_the_scene_gives(
    scene: DynamicGaussians, assert_close: Callable[..., None], device: str
) -> None:
    scene, record = scene.to(device), Recorder(device)
    live = LiveScene(scene, record)
    for time in (0.1, 0.9, 0.33, 0.0, 1.0):
        with torch.no_grad():
            expected = scene.at(at(time, device))
        assert_close(live.at(at(time, device)), expected, 1e-5)
    assert (record.recordings, record.replays) == (1, 4)


@devices
def test_gaussians_stay_when_another_time_is_evaluated(scene: DynamicGaussians, device: str) -> None:
    live = LiveScene(scene.to(device), Recorder(device))
    live.at(at(0.0, device))
    kept = live.at(at(0.2, device))
    before = kept.means.clone()
    live.at(at(0.9, device))
    assert torch.equal(kept.means, before)


@devices
def test_parameters_may_change_or_be_replaced(
    scene: DynamicGaussians, assert_close: Callable[..., None], device: str
) -> None:
    scene, record = scene.to(device), Recorder(device)
    live = LiveScene(scene, record)
    with torch.no_grad():
        for _ in range(3):
            live.at(at(0.4, device))
        scene.gaussians.means += 0.1
        assert_close(live.at(at(0.4, device)), scene.at(at(0.4, device)), 1e-5)
        scene.gaussians.means = torch.nn.Parameter(scene.gaussians.means - 0.2)
        for _ in range(3):
            assert_close(live.at(at(0.4, device)), scene.at(at(0.4, device)), 1e-5)
        scene.gaussians.means.data = scene.gaussians.means.data + 0.3  # as `Module.to` does it
        for _ in range(3):
            assert_close(live.at(at(0.4, device)), scene.at(at(0.4, device)), 1e-5)
    assert record.recordings == 3


def test_threads_take_turns(scene: DynamicGaussians, assert_close: Callable[..., None]) -> None:
    class Slow(Recorder):
        def _play(self, part: Part) -> None:
            sleep(0.01)
            super()._play(part)

    live, times = LiveScene(scene, Slow("cpu")), [number / 16 for number in range(16)]
    for _ in range(2):
        live.at(at(0.5, "cpu"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda time: live.at(at(time, "cpu")), times))
    for time, gaussians in zip(times, found, strict=True):
        with torch.no_grad():
            assert_close(gaussians, scene.at(at(time, "cpu")), 1e-6)


def test_several_times_and_a_cpu_need_no_recording(scene: DynamicGaussians, assert_close: Callable[..., None]) -> None:
    record = Recorder("cpu")
    times = torch.tensor([0.1, 0.5])
    with torch.no_grad():
        expected = scene.at(times)
    assert_close(LiveScene(scene, record).at(times), expected)
    plain = LiveScene(scene)
    for _ in range(3):
        assert_close(plain.at(times[:1]), scene.at(times[:1]))
    assert record.recordings == 0
