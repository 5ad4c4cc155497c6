"""Drawn training images against what is known of a ball."""

import math

import pytest
import torch

from ds4d.geometry import project_points
from ds4d.lift_training.appearance import Appearance, AppearanceSettings, random_appearance
from ds4d.lift_training.corruption import CorruptionSettings, input_images
from ds4d.lift_training.images import CameraSettings, camera_rotations, draw, framed, random_cameras
from ds4d.lift_training.model_pool import ModelPool
from ds4d.lift_training.rasterizer import MAX_SAMPLES, rasterize
from ds4d.lift_training.validation import camera_of

CPU = torch.device("cpu")


def plain(count: int) -> Appearance:
    """White light from everywhere, and no paint."""
    none = random_appearance(count, AppearanceSettings(repaint=0.0, mix=0.0, pattern=0.0), torch.Generator(), CPU)
    values = vars(none) | {
        "ambient": torch.ones(count, 3),
        "intensities": torch.zeros_like(none.intensities),
        "mix": torch.eye(3).expand(count, 3, 3),
    }
    return Appearance(**values)


def ball_from(pool: ModelPool, azimuths_deg: list[float], size: int = 64):
    """The ball from a distance of 4, filling 0.8 of the image."""
    count = len(azimuths_deg)
    choice = pool.choice(torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long))
    samples = pool.samples(choice)
    level = torch.zeros(count)
    rotations = camera_rotations(torch.tensor(azimuths_deg).deg2rad(), level, level)
    cameras = framed(
        samples.positions, rotations, torch.full((count,), 4.0), torch.full((count,), 0.8), torch.ones(count, 3)
    )
    return cameras, draw(pool, choice, samples, cameras, plain(count), size), samples.positions


def test_the_nearest_and_the_farthest_sample_are_shown() -> None:
    pixels = torch.tensor([[[2.5, 3.5], [2.6, 3.4], [2.5, 3.5], [7.9, 0.5], [40.0, 2.0]]])
    front, back = rasterize(pixels, torch.tensor([[0.1, -0.5, 0.9, 0.3, 0.0]]), 8, depth_range=(-1.0, 1.0))
    assert front.samples[0, 3, 2] == 1 and back.samples[0, 3, 2] == 2
    assert front.samples[0, 0, 7] == back.samples[0, 0, 7] == 3
    assert front.hit.sum() == back.hit.sum() == 2 and not front.hit[0, 6, 6]
    assert torch.equal(front.gather(torch.arange(5.0)[None, :, None])[0, 3, 2], torch.tensor([1.0]))


def test_small_holes_in_a_silhouette_are_closed() -> None:
    ys, xs = torch.meshgrid(torch.arange(2, 7) + 0.5, torch.arange(2, 7) + 0.5, indexing="ij")
    pixels = torch.stack((xs, ys), -1).flatten(0, 1)
    kept = pixels[(pixels != 4.5).any(1)]  # all but the one in the middle
    front, _ = rasterize((kept + 0.1)[None], torch.zeros(1, len(kept)), 10, depth_range=(-1.0, 1.0))
    assert front.hit.sum() == 25 and front.hit[0, 4, 4]


def test_too_many_samples_are_refused() -> None:
    count = MAX_SAMPLES + 1
    with pytest.raises(ValueError, match="samples"):
        rasterize(torch.zeros(1, count, 2), torch.zeros(1, count), 4, depth_range=(-1.0, 1.0))


def test_depths_of_a_ball_are_where_its_rays_meet_it(pool: ModelPool) -> None:
    cameras, drawn, _ = ball_from(pool, [0.0])
    rays = cameras.rays(64)[0]
    # |(x t, y t, t - 4)| = 1
    a = rays.square().sum(0) + 1
    root = (16 - a * 15).clamp_min(0).sqrt()
    near, far = (4 - root) / a - 4, (4 + root) / a - 4
    inner = (16 - a * 15) > 0.4
    side = cameras.sides[0]
    assert (drawn.mask[0] | ~inner).all()
    torch.testing.assert_close((drawn.front[0] * side)[inner], near[inner], atol=0.02, rtol=0)
    torch.testing.assert_close((drawn.back[0] * side)[inner], far[inner], atol=0.02, rtol=0)
    assert drawn.mask[0].float().mean() == pytest.approx(math.pi * 0.4**2, rel=0.06)


def test_azimuth_and_the_side_that_is_seen(pool: ModelPool) -> None:
    _, drawn, _ = ball_from(pool, [0.0, 180.0, 90.0])
    red, blue = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    for image, (front, back) in enumerate(((red, blue), (blue, red))):
        torch.testing.assert_close(drawn.front_colors[image, :, 32, 32], front, atol=0.2, rtol=0)
        torch.testing.assert_close(drawn.back_colors[image, :, 32, 32], back, atol=0.2, rtol=0)
    # From +x, what is at +z is on the left.
    torch.testing.assert_close(drawn.front_colors[2, :, 32, 16], red, atol=0.2, rtol=0)
    torch.testing.assert_close(drawn.front_colors[2, :, 32, 48], blue, atol=0.2, rtol=0)


def test_light_falls_on_the_side_that_is_turned_to_it(pool: ModelPool) -> None:
    look = plain(1)
    lights = torch.zeros_like(look.lights)
    lights[:, 0, 1] = 1  # from above
    intensities = torch.zeros_like(look.intensities)
    intensities[:, 0] = 0.8
    lit = Appearance(**{**vars(look), "lights": lights, "intensities": intensities, "ambient": torch.full((1, 3), 0.1)})
    gray = torch.full((1, 2, 2, 3), 0.5)
    up = torch.tensor([0.0, 1.0, 0.0]).expand(1, 2, 2, 3)
    above, below = lit.shade(gray, up, gray), lit.shade(gray, -up, gray)
    torch.testing.assert_close(above, torch.full((1, 3, 2, 2), 0.5 * 0.9 ** (1 / 2.2)))
    torch.testing.assert_close(below, torch.full((1, 3, 2, 2), 0.5 * 0.1 ** (1 / 2.2)))


def test_cameras_agree_with_those_of_the_renderers(pool: ModelPool) -> None:
    generator = torch.Generator().manual_seed(0)
    choice = pool.choose(4, generator)
    samples = pool.samples(choice)
    cameras = random_cameras(samples.positions, CameraSettings(stretch=0.0, mirror=0.0), generator)
    points = samples.positions[0, :50]
    pixels, depths = project_points(points[None], camera_of(cameras, 64)[:1])
    rotated = points @ cameras.rotations[0].T
    tangents = rotated[:, :2] / (rotated[:, 2:] + cameras.distances[0])
    expected = 64 * ((tangents - cameras.centers[0]) * cameras.focals[0] + 0.5)
    torch.testing.assert_close(pixels[0, 0], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(depths[0, 0], rotated[:, 2] + cameras.distances[0], atol=1e-4, rtol=0)


def test_random_cameras_show_the_whole_object_and_nothing_repeats(pool: ModelPool) -> None:
    generator = torch.Generator().manual_seed(0)
    settings = CameraSettings(fill=(0.8, 0.9))
    choice = pool.choose(8, generator)
    samples = pool.samples(choice)
    cameras = random_cameras(samples.positions, settings, generator)
    drawn = draw(pool, choice, samples, cameras, plain(8), 64)
    for mask in drawn.mask:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        extent = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
        assert 0.78 * 64 <= extent <= 0.95 * 64
    assert len({tuple(rotation.flatten().tolist()) for rotation in cameras.rotations}) == 8
    assert ((drawn.back >= drawn.front) | ~drawn.mask).all()


def test_equal_seeds_draw_equal_images(pool: ModelPool) -> None:
    def drawn(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        choice = pool.choose(3, generator)
        samples = pool.samples(choice)
        cameras = random_cameras(samples.positions, CameraSettings(), generator)
        looks = random_appearance(3, AppearanceSettings(), generator, CPU)
        return input_images(draw(pool, choice, samples, cameras, looks, 32), CorruptionSettings(), generator)

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_groups_are_chosen_by_the_square_root_of_their_size(make_sphere) -> None:
    models = [make_sphere(poses=2) for _ in range(5)] + [make_sphere()]
    pool = ModelPool(models, ["a", "a", "a", "a", "b", "c"], CPU, shares={"animated": 0.75, "static": 0.25})
    torch.testing.assert_close(pool.chances.sum(), torch.tensor(1.0))
    assert pool.chances[5] == pytest.approx(0.25)
    assert float(pool.chances[:4].sum() / pool.chances[4]) == pytest.approx(2.0)


def test_input_images_are_premultiplied_and_masks_change_by_a_pixel(pool: ModelPool) -> None:
    _, drawn, _ = ball_from(pool, [0.0])
    generator = torch.Generator().manual_seed(0)
    exact = input_images(drawn, CorruptionSettings(grow=0.0, soften=0.0, blur=0.0, noise=0.0), generator)
    assert torch.equal(exact[0, 3] > 0, drawn.mask[0])
    assert torch.equal(exact[:, :3], drawn.front_colors * drawn.mask[:, None])
    grown = input_images(drawn, CorruptionSettings(grow=1.0, soften=0.0, blur=0.0, noise=0.0), generator)
    assert (grown[0, 3] >= exact[0, 3]).all() and grown[0, 3].sum() > exact[0, 3].sum()
    assert (grown[:, :3] <= grown[:, 3:] + 1e-6).all()


def test_holes_between_samples_show_what_is_in_front() -> None:
    """Of a sparse wall before another wall; a wide opening stays one."""
    ys, xs = torch.meshgrid(torch.arange(0.25, 32, 0.5), torch.arange(0.25, 32, 0.5), indexing="ij")
    wall = torch.stack((xs, ys), -1).reshape(-1, 2)
    kept = ((wall - 20.5).abs().amax(1) > 2.0) & ((wall - 8.5).abs().amax(1) > 1.0)
    pixels = torch.cat((wall[kept], wall))[None]
    depths = torch.cat((torch.full((int(kept.sum()),), -0.5), torch.full((len(wall),), 0.5)))[None]
    front, _ = rasterize(pixels, depths, 32, depth_range=(-1.0, 1.0))
    shown = front.gather(depths[..., None])[0, :, :, 0]
    assert shown[8, 8] == -0.5
    assert shown[20, 20] == 0.5
