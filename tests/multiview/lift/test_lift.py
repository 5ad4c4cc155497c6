"""Lifting with an untrained network, which inflates: crops, cameras, files, and unusual frames."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ds4d.geometry import RIGS, orbit_cameras
from ds4d.multiview.base import stag4d_cameras
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.multiview.inflate.thickness import union_of_balls
from ds4d.multiview.lift import Lift, LiftConfig, lift
from ds4d.multiview.lift.carried import MiddleShape, carried
from ds4d.multiview.lift.checkpoint import read_network, save_network
from ds4d.multiview.lift.inputs import crops_around, inflated, network_inputs
from ds4d.multiview.lift.network import LiftNetwork, NetworkConfig, predict
from ds4d.multiview.lift.steady import steadied
from ds4d.rendering import renderer_for
from ds4d.types import ArrayFrames, Cameras, Video

CPU = torch.device("cpu")
TINY = NetworkConfig(size=64, half_channels=8, quarter_channels=8, width=32, depth=1, head_width=16)


@pytest.fixture
def video() -> Video:
    """Ten frames of a disc that moves and grows."""
    frames = [disc(48, 40, center=(20 + time, 20), radius=10 + 0.5 * time) for time in range(10)]
    rgba = (255 * torch.stack(frames)).round().byte().movedim(1, -1)
    return Video(ArrayFrames(rgba[:, None].numpy()), fps=10.0)


@pytest.fixture
def network() -> LiftNetwork:
    torch.manual_seed(0)
    return LiftNetwork(TINY).eval().requires_grad_(False)


def disc(width: int, height: int, *, center: tuple[float, float], radius: float) -> torch.Tensor:
    """A disc, red on the left and green on the right, premultiplied."""
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    alpha = ((xs - center[0]).square() + (ys - center[1]).square() < radius**2).float()
    left = (xs < center[0]).float()
    return torch.stack((alpha * left, alpha * (1 - left), 0 * alpha, alpha))


def test_inflated_masks_are_unions_of_balls() -> None:
    masks = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1)).repeat_interleave(8, 1).repeat_interleave(8, 2) > 0.4  # fmt: skip # noqa: E501
    masks[:, [0, -1]] = masks[:, :, :1] = masks[:, :, -1:] = False
    torch.testing.assert_close(64 * inflated(masks)[1], union_of_balls(masks), atol=1e-3, rtol=0)


def test_an_untrained_network_inflates(network: LiftNetwork) -> None:
    images = disc(64, 64, center=(32, 32), radius=24)[None]
    inputs = network_inputs(images, torch.zeros(1, 2, 64, 64))
    prediction = predict(network(inputs), inputs)
    half = 24 / 64
    assert float(prediction.front[0, 32, 32]) == pytest.approx(-half, abs=0.04)
    assert float(prediction.back[0, 32, 32]) == pytest.approx(half, abs=0.04)
    torch.testing.assert_close(prediction.back_colors, inputs[:, :3])


def test_crops_frame_the_object_and_know_its_rays() -> None:
    camera = orbit_cameras([0.0], [0.0], fovy_deg=53.13, distance=2.0, width=80, height=64)
    masks = torch.zeros(2, 64, 80, dtype=torch.bool)
    masks[0, 20:40, 10:20] = True
    crops = crops_around(masks)
    assert float(crops.side[0]) == pytest.approx(1.16 * 20) and float(crops.side[1]) == pytest.approx(1.16 * 80)
    assert float(crops.left[0] + crops.side[0] / 2) == pytest.approx(15)
    assert float(crops.top[0] + crops.side[0] / 2) == pytest.approx(30)
    rays = crops.rays(camera, 32)[0]
    focal = float(camera.Ks[0, 0, 0])
    assert float(rays[0].mean()) == pytest.approx((15 - 40) / focal, abs=1e-5)
    assert float(rays[1].mean()) == pytest.approx((30 - 32) / focal, abs=1e-5)
    there = crops.grid(32, 80, 64)
    columns = (there[0, 0, :, 0] + 1) * 40
    back = (columns - crops.left[0]) * (2 / crops.side[0]) - 1
    torch.testing.assert_close(back, (torch.arange(32) + 0.5) / 16 - 1)


@pytest.mark.parametrize(("width", "height"), [(96, 96), (128, 32), (32, 128)])
def test_the_lifted_shape_looks_like_the_frame_from_the_front(network: LiftNetwork, width: int, height: int) -> None:
    camera = orbit_cameras([0.0], [0.0], fovy_deg=30.0, distance=4.0, width=width, height=height)
    images = torch.stack([disc(width, height, center=(width * x, height * 0.5), radius=12) for x in (0.45, 0.6)])
    pair, cameras = lift(images, camera, network, flip=True)
    assert cameras.viewmats.shape == (2, 1, 4, 4) and pair.front.shape == (2, 64, 64)
    rendered = renderer_for("cpu").render(surface_gaussians(pair, cameras), camera.expand_times(2))
    rgba = torch.cat((rendered.colors, rendered.alphas), 2)[:, 0]
    assert float((rgba - images).abs().mean()) < 0.02


def test_mirrored_frames_give_mirrored_shapes(network: LiftNetwork) -> None:
    torch.nn.init.normal_(network.out.weight, std=0.05)
    camera = orbit_cameras([0.0], [0.0], fovy_deg=30.0, distance=4.0, width=64, height=64)
    images = disc(64, 64, center=(28, 30), radius=20)[None]
    pair, _ = lift(images, camera, network, flip=True)
    mirrored, _ = lift(images.flip(-1), camera, network, flip=True)
    torch.testing.assert_close(mirrored.front, pair.front.flip(-1), atol=1e-4, rtol=0)
    torch.testing.assert_close(mirrored.back_colors, pair.back_colors.flip(-1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [8, 64])
def test_empty_and_full_masks_have_finite_depths(network: LiftNetwork, size: int) -> None:
    camera = orbit_cameras([0.0], [0.0], fovy_deg=30.0, distance=4.0, width=size, height=size)
    images = torch.stack((torch.zeros(4, size, size), torch.ones(4, size, size)))
    pair, _ = lift(images, camera, network, flip=False)
    assert not pair.inside[0].any() and pair.inside[1].float().mean() > 0.7
    assert pair.front.isfinite().all() and (pair.back >= pair.front).all()


def test_networks_survive_their_file(network: LiftNetwork, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, network, {"images": 3})
    read = read_network(path)
    assert read.card == {"images": 3} and read.network.config == TINY and not read.network.training
    for name, value in network.state_dict().items():
        assert torch.equal(read.network.state_dict()[name], value.half().float())
    save_network(tmp_path / "again.safetensors", network, {"images": 3})
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert read.sha256 == read_network(tmp_path / "again.safetensors").sha256


def test_damaged_and_other_files_are_named(network: LiftNetwork, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError, match=str(path)):
        read_network(path)
    save_network(path, network, {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=str(path)):
        read_network(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=str(path)):
        read_network(path)
    torch.nn.init.constant_(network.out.bias, float("nan"))  # type: ignore[arg-type]
    save_network(path, network, {})
    with pytest.raises(ValueError, match="NaN"):
        read_network(path)


def test_a_changed_weight_is_noticed(network: LiftNetwork, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, network, {})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last bit of a finite weight
    path.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        read_network(path)


def test_depths_of_what_is_at_rest_do_not_flicker() -> None:
    """Random depths become steady where the frames are equal, in crops that move, and stay where the color differs."""
    camera = orbit_cameras([0.0], [0.0], fovy_deg=53.13, distance=2.0, width=64, height=64)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(9, 1, 1, generator=generator)
    inside = torch.zeros(9, 64, 64, dtype=torch.bool)
    inside[:, 8:56, 8:56] = True
    colors = torch.full((9, 3, 64, 64), 0.5)
    colors[4, :, :, 32:] = 1.0
    pair = DepthPair(2 + noise.expand(9, 64, 64), 3 + noise.expand(9, 64, 64), inside, colors, colors)
    Ks = camera.Ks.repeat(9, 1, 1, 1)
    Ks[::2, :, 0, 2] += 3.0  # every other crop is three pixels to the left: the square is at another place in it
    cameras = Cameras(camera.viewmats.repeat(9, 1, 1, 1), Ks, 64, 64)
    shifted = {name: value.clone() for name, value in vars(pair).items() if value is not None}
    for value in shifted.values():
        value[::2] = value[::2].roll(3, -1)
    steady = steadied(DepthPair(**shifted), cameras)
    still = steady.front[:, 20:40, 20:28]
    assert still.diff(dim=0).abs().mean() < 0.4 * noise.diff(dim=0).abs().mean()
    assert steady.front[4, 20:40, 40:50] == pytest.approx(float(2 + noise[4]), abs=1e-5)
    assert torch.equal(steady.inside, shifted["inside"])


CROP = 4  # pixels that crops are moved by in the frame


def moving_square(relief: torch.Tensor, shifts: list[int], camera: Cameras) -> tuple[DepthPair, Cameras]:
    """A striped square with a relief and a plain back, some pixels to the right in every frame, in moved crops."""
    count = len(shifts)
    inside = torch.zeros(count, 64, 64, dtype=torch.bool)
    colors, front = torch.zeros(count, 3, 64, 64), torch.full((count, 64, 64), 2.0)
    for t, shift in enumerate(shifts):
        columns = slice(8 + shift - CROP, 40 + shift - CROP)
        inside[t, 12:44, columns] = True
        colors[t, :, 12:44, columns] = (torch.arange(32) // 8 % 2).float()
        front[t, 12:44, columns] += relief[t]
    backs = torch.linspace(0.2, 0.8, count)[:, None, None, None].expand(-1, 3, 64, 64)
    Ks = camera.Ks.repeat(count, 1, 1, 1)
    Ks[..., 0, 2] -= CROP
    return DepthPair(front, front + 0.5, inside, colors, backs), Cameras(
        camera.viewmats.repeat(count, 1, 1, 1), Ks, 64, 64
    )


@pytest.fixture
def front_camera() -> Cameras:
    return orbit_cameras([0.0], [0.0], fovy_deg=53.13, distance=2.0, width=64, height=64)


def tracks_to(*shifts: float) -> torch.Tensor:
    """Tracks of all pixels of a frame of 64 pixels, moved to the right by some pixels at each time."""
    places = (torch.arange(64) + 0.5) / 64
    still = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)
    return torch.stack([still + torch.tensor([shift / 64, 0.0]) for shift in shifts])


def test_a_relief_is_carried_along_the_tracks(front_camera: Cameras) -> None:
    """A frame whose relief is noise gets that of the middle frame, at its own depth; other colors keep their own."""
    generator = torch.Generator().manual_seed(0)
    bump = 0.2 * torch.sin(torch.arange(32) / 6.0)[:, None].expand(32, 32)
    relief = torch.stack((bump + 0.3 + 0.05 * torch.randn(32, 32, generator=generator), bump))
    pair, cameras = moving_square(relief, [14, 0], front_camera)
    occluder = (0, slice(20, 30), slice(22, 32))
    pair.front_colors[0, :, 20:30, 22:32] = torch.tensor([0.0, 0.5, 1.0])[:, None, None]
    first = MiddleShape(pair.at_times(slice(1, 2)), cameras[1:], front_camera, tracks_to(14, 0))
    found = carried(pair, cameras, first, range(2))
    torch.testing.assert_close(found.front[1], pair.front[1])
    inner = (0, slice(30, 42), slice(22, 40))
    expected = 2.3 + bump[18:30, :18]
    before, after = (each.front[inner] - expected for each in (pair, found))
    assert after.square().mean() < 0.1 * before.square().mean()
    torch.testing.assert_close(found.back_colors[0, :, 30:42, 22:40], torch.full((3, 12, 18), 0.8), atol=0.05, rtol=0)
    torch.testing.assert_close(found.front[occluder], pair.front[occluder], atol=0.02, rtol=0)
    assert torch.equal(found.inside, pair.inside) and bool((found.back >= found.front).all())


@pytest.mark.parametrize("emptied", ["middle", "other", "both"])
def test_frames_without_an_object_and_lost_tracks_change_nothing(front_camera: Cameras, emptied: str) -> None:
    pair, cameras = moving_square(torch.zeros(2, 32, 32), [14, 0], front_camera)
    for time, name in enumerate(("other", "middle")):
        pair.inside[time] &= emptied not in (name, "both")
    shape = MiddleShape(pair.at_times(slice(1, 2)), cameras[1:], front_camera, tracks_to(14, 0))
    torch.testing.assert_close(carried(pair, cameras, shape, range(2)).front, pair.front)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_few_tracked_pixels_are_enough(front_camera: Cameras, kept: int) -> None:
    pair, cameras = moving_square(torch.zeros(2, 32, 32), [14, 0], front_camera)
    tracks = tracks_to(14, 0)
    tracks[1].view(-1, 2)[torch.arange(64 * 64) % (64 * 20) >= kept] += 5  # outside of the middle frame
    shape = MiddleShape(pair.at_times(slice(1, 2)), cameras[1:], front_camera, tracks)
    torch.testing.assert_close(carried(pair, cameras, shape, range(2)).front, pair.front, atol=1e-3, rtol=0)


def test_the_views_of_a_tracked_video_are_others(network: LiftNetwork, tmp_path: Path, video: Video) -> None:
    torch.nn.init.normal_(network.out.weight, std=0.05)
    save_network(tmp_path / "net.safetensors", network, {})
    generator = Lift(LiftConfig(network=tmp_path / "net.safetensors"), CPU)
    ys, xs = torch.meshgrid((torch.arange(32) + 0.5) / 32, (torch.arange(32) + 0.5) / 32, indexing="ij")
    shifts = (torch.arange(10) - 5)[:, None, None, None] * torch.tensor([1 / 48, 0.0])
    tracked = replace(video, tracks=torch.stack((xs, ys), -1) + shifts)
    plain, followed = (generator.generate(each, seed=0) for each in (video, tracked))
    assert plain.depths is not None and followed.depths is not None
    in_both = (plain.depths > 0) & (followed.depths > 0)
    changes = [
        float((a - b).abs()[both].mean()) for a, b, both in zip(plain.depths, followed.depths, in_both, strict=True)
    ]
    assert changes[5] < 1e-5 < 1e-3 < min(changes[0], changes[9])  # the middle frame has its own shape


def test_guesses_are_trusted_less_than_what_was_seen(network: LiftNetwork, tmp_path: Path, video: Video) -> None:
    """The input view has weight 1, the back view at most half of what a view from the front has."""
    save_network(tmp_path / "net.safetensors", network, {})
    generated = Lift(LiftConfig(network=tmp_path / "net.safetensors"), CPU).generate(video, seed=0).video
    weights = generated.pixel_weights
    assert weights is not None and weights.shape[:3] == (10, 7, 1)
    assert torch.equal(weights[:, 0], torch.ones_like(weights[:, 0]))
    assert weights[:, 1:].min() > 0 and weights[:, 1:].max() < 1
    rows, columns = (slice(size // 2 - 2, size // 2 + 2) for size in weights.shape[3:])
    center = weights[0, :, 0, rows, columns].mean((1, 2))
    azimuths = [view.azimuth for view in RIGS["stag4d"]]
    behind, before = azimuths.index(150), azimuths.index(30)
    assert center[behind] < 0.7 * center[before]


def test_the_packaged_network_knows_that_a_ball_is_round() -> None:
    """A shaded ball: its depth where the ray through its middle enters it, and no hole between its sides."""
    ys, xs = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    inside = (xs.square() + ys.square() < 26**2).float()
    height = (26**2 - xs.square() - ys.square()).clamp_min(0).sqrt() / 26
    image = torch.stack((0.9 * height, 0.6 * height, 0.3 * height, torch.ones_like(height))) * inside
    camera = orbit_cameras([0.0], [0.0], fovy_deg=30.0, distance=4.0, width=64, height=64)
    network = Lift(LiftConfig(), CPU).network
    pair = lift(image[None], camera, network, flip=True)[0]
    radius = 26 / 64 * 2 * 4.0 * math.tan(math.radians(15.0))
    middle = pair.front.shape[-1] // 2
    assert float(pair.front[0, middle, middle]) == pytest.approx(4 - radius, abs=0.25 * radius)
    assert float(pair.back[0, middle, middle]) == pytest.approx(4 + radius, abs=0.35 * radius)


def test_the_same_frame_is_lifted_alike_in_every_batch(network: LiftNetwork, tmp_path: Path, video: Video) -> None:
    torch.nn.init.normal_(network.out.weight, std=0.05)
    save_network(tmp_path / "net.safetensors", network, {})
    generator = Lift(LiftConfig(network=tmp_path / "net.safetensors"), CPU)
    cameras = stag4d_cameras(video)
    whole = generator.lift_frames(video, range(video.num_times), cameras)[0]
    part = generator.lift_frames(video, range(3, 5), cameras)[0]
    torch.testing.assert_close(part.front, whole.front[3:5], atol=1e-5, rtol=0)
    torch.testing.assert_close(part.back_colors, whole.back_colors[3:5], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 2**20},
        {"width": 2**24},
        {"width": -8},
        {"depth": 10**9},
        {"depth": -1},
        {"head_width": 0},
        {"size": "8"},
    ],
)
def test_settings_of_larger_networks_are_refused_before_anything_is_allocated(
    network: LiftNetwork, tmp_path: Path, changes: dict
) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, network, {})
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["ds4d"])
    header["network"] |= changes
    save_file(tensors, path, {"ds4d": json.dumps(header)})
    with pytest.raises(ValueError, match=str(path)):
        read_network(path)


def test_the_generator_needs_a_network(network: LiftNetwork, tmp_path: Path) -> None:
    config = LiftConfig(network=tmp_path / "net.safetensors")
    assert not Lift.is_usable(config, CPU)[0]
    with pytest.raises(ValueError, match=str(config.network)):
        Lift(config, CPU)
    save_network(tmp_path / "net.safetensors", network, {})
    assert Lift.is_usable(config, CPU)[0]
    before = Lift(config, CPU).identity
    torch.nn.init.normal_(network.out.weight)
    save_network(tmp_path / "net.safetensors", network, {})
    assert Lift(config, CPU).identity != before
