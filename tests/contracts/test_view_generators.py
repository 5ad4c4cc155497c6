"""The contract of all view generators."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ds4d.geometry import orbit_cameras, project_points
from ds4d.multiview import GENERATORS, ViewGenerator
from ds4d.multiview.flipbook import Flipbook, FlipbookConfig
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.multiview.lift import Lift, LiftConfig
from ds4d.multiview.lift.checkpoint import save_network
from ds4d.multiview.lift.network import LiftNetwork, NetworkConfig
from ds4d.multiview.zero123plus import Zero123Plus, Zero123PlusConfig
from ds4d.types import Frames, GeneratedViews, Video


def untrained_lift(request: pytest.FixtureRequest) -> Lift:
    """Lifting by a small network that inflates."""
    path = request.getfixturevalue("tmp_path") / "network.safetensors"
    config = NetworkConfig(size=64, half_channels=8, quarter_channels=8, width=16, depth=1, head_width=16)
    torch.manual_seed(0)
    save_network(path, LiftNetwork(config), {})
    return Lift(LiftConfig(network=path), torch.device("cpu"))


# A quick instance of each; a generator that needs weights gets tiny random ones.
MAKERS: dict[str, Callable[[pytest.FixtureRequest], ViewGenerator]] = {
    "flipbook": lambda request: Flipbook(
        FlipbookConfig(request.getfixturevalue("disc_shapes"), up="+y", azimuth=0.0), torch.device("cpu")
    ),
    "inflate": lambda request: Inflate(InflateConfig(), torch.device("cpu")),
    "lift": untrained_lift,
    "zero123plus": lambda request: Zero123Plus(
        Zero123PlusConfig(folder=request.getfixturevalue("tiny_zero123plus"), view_size=64, steps=2),
        torch.device("cpu"),
    ),
}

Maker = Callable[[], ViewGenerator]
every_generator = pytest.mark.parametrize("name", GENERATORS)


class Discs:
    """A disc that moves to the right, orange above and blue below, premultiplied; wider than high."""

    num_views = 1

    def __init__(self, count: int) -> None:
        self.num_times, self.width, self.height = count, 48, 40

    def read(self, time: int, view: int) -> np.ndarray:
        """One image."""
        ys, xs = np.mgrid[: self.height, : self.width]
        inside = (xs - 20 - 2 * time) ** 2 + (ys - 20) ** 2 < 12**2
        colors = np.where((ys < 20)[..., None], (220, 120, 40, 255), (40, 60, 200, 255))
        return (colors * inside[..., None]).astype(np.uint8)


@pytest.fixture(scope="session")
def disc_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three equal balls, orange above and blue below, far from the origin."""
    folder = tmp_path_factory.mktemp("shapes")
    ball = trimesh.creation.icosphere(subdivisions=3)
    above = ball.vertices[:, 1:2] > 0
    ball.visual.vertex_colors = np.where(above, (220, 120, 40, 255), (40, 60, 200, 255)).astype(np.uint8)
    ball.vertices = 5 * ball.vertices + 20
    for index in range(3):
        ball.export(folder / f"{index}.ply")
    return folder


@pytest.fixture
def make(name: str, request: pytest.FixtureRequest) -> Maker:
    """Makes the generator."""
    return lambda: MAKERS[name](request)


@pytest.fixture
def video() -> Video:
    return Video(Discs(3), fps=6.0)


@pytest.fixture(scope="module")
def made() -> dict[str, GeneratedViews]:
    """The views that generators have made, by their names."""
    return {}


@pytest.fixture
def views(name: str, make: Maker, video: Video, made: dict[str, GeneratedViews]) -> GeneratedViews:
    """Views of the video by seed 0, made once."""
    if name not in made:
        made[name] = make().generate(video, seed=0)
    return made[name]


def images(frames: Frames) -> np.ndarray:
    """All of them: [T, V, H, W, 4]."""
    return np.stack([[frames.read(t, v) for v in range(frames.num_views)] for t in range(frames.num_times)])


def test_every_generator_is_tested() -> None:
    assert set(MAKERS) == set(GENERATORS)


@every_generator
def test_it_fits_the_protocol(name: str, make: Maker) -> None:
    generator = make()
    assert isinstance(generator, ViewGenerator) and isinstance(generator, GENERATORS[name])
    assert generator.identity == make().identity
    usable, why = generator.is_usable(generator.Config(), torch.device("cpu"))
    assert isinstance(usable, bool) and why


@every_generator
def test_the_video_is_view_0_unchanged(views: GeneratedViews, video: Video) -> None:
    clip = views.video
    np.testing.assert_array_equal(images(clip.frames)[:, 0], images(video.frames)[:, 0])
    assert (clip.frames.width, clip.frames.height) == (48, 40)
    assert clip.num_times == 3 and clip.duration == pytest.approx(0.5) and clip.view_names[0] == "front"


@every_generator
def test_every_frame_has_further_views_with_masks(views: GeneratedViews) -> None:
    clip = views.video
    assert clip.num_views > 1 and clip.valid.all()
    further = images(clip.frames)[:, 1:]
    assert (further[..., :3] <= further[..., 3:]).all(), "colors are premultiplied"
    fractions = (further[..., 3] > 127).mean((-2, -1))
    assert (fractions > 0).all() and (fractions < 1).all()


@every_generator
def test_only_the_input_view_has_weight_1(views: GeneratedViews) -> None:
    weights = views.video.view_weights
    assert weights[0] == 1 and (weights[1:] < 1).all() and (weights > 0).all()


@every_generator
def test_cameras_are_static_and_the_input_camera_is_kept(make: Maker, video: Video) -> None:
    own = orbit_cameras([0.0], [12.0], fovy_deg=49.1, distance=2.0, width=24, height=20)
    clip = make().generate(replace(video, camera=own), seed=0).video
    assert clip.cameras.is_static and (clip.cameras.width, clip.cameras.height) == (48, 40)
    torch.testing.assert_close(clip.cameras.viewmats[0, :1], own.viewmats)
    torch.testing.assert_close(clip.cameras.Ks[0, :1], own.resized(48, 40).Ks)


@every_generator
def test_equal_seeds_give_equal_bits(views: GeneratedViews, make: Maker, video: Video) -> None:
    again = make().generate(video, seed=0)
    np.testing.assert_array_equal(images(views.video.frames), images(again.video.frames))
    if views.points is not None:
        assert again.points is not None
        assert torch.equal(views.points.positions, again.points.positions)


@every_generator
def test_one_frame_is_enough(make: Maker) -> None:
    clip = make().generate(Video(Discs(1), fps=6.0), seed=0).video
    assert clip.num_times == 1 and clip.times.tolist() == [0]


@every_generator
def test_points_lie_on_the_object_at_the_middle_frame(name: str, views: GeneratedViews) -> None:
    """In the input view they are inside its mask."""
    if views.points is None:
        pytest.skip(f"{name} has no points")
    clip = views.video
    cameras = clip.cameras[0, :1]
    pixels = project_points(views.points.positions, cameras)[0][0].long()
    covered = clip.frames.read(clip.middle, 0)[pixels[:, 1].clamp(0, 39), pixels[:, 0].clamp(0, 47), 3] > 127
    assert covered.mean() > 0.95
