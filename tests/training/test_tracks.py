"""A fit that begins with tracks of the input view: Gaussians move as the pixels that they are seen at."""

from dataclasses import replace

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.geometry import frame_times, project_points
from ds4d.pipeline.setup import prepare
from ds4d.training.tracks import tracked_shifts
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")
SIDE = 16


def rising(video: MultiViewVideo, height: float, nearer: float = 0.0) -> MultiViewVideo:
    """Tracks that rise from the bottom to the top by a fraction of the image, as they would for a lifted weight.

    Over the clip, they come nearer to the camera by a fraction of their distance in the middle frame.
    """
    places = (torch.arange(SIDE) + 0.5) / SIDE
    still = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    shifts = (video.times[video.middle] - video.times) * height
    tracks = still.repeat(video.num_times, 1, 1, 1)
    tracks[..., 1] += shifts[:, None, None]
    depths = 1 + (video.times[video.middle] - video.times) * nearer
    return replace(video, tracks=torch.cat((tracks, depths[:, None, None, None].expand(-1, SIDE, SIDE, 1)), dim=-1))


@pytest.mark.parametrize("nearer", [0.0, 0.4])
def test_shifts_of_points_project_onto_their_tracks(
    quick_video: MultiViewVideo, generator: torch.Generator, nearer: float
) -> None:
    video = rising(quick_video, 0.2, nearer)
    assert video.tracks is not None
    points = 0.3 * torch.randn(50, 3, generator=generator).clamp(-1, 1)
    shifts = tracked_shifts(points, video, video.tracks)
    camera = video.cameras[video.middle, :1]
    (before,), (depth,) = project_points(points, camera)
    assert shifts[video.middle].abs().max() < 1e-6
    for time in range(video.num_times):
        (after,), (depth_after,) = project_points(points + shifts[time], camera)
        expected = (video.times[video.middle] - video.times[time]) * 0.2 * video.frames.height
        torch.testing.assert_close(
            after - before, torch.tensor([0.0, float(expected)]).expand(50, 2), atol=2e-3, rtol=0
        )
        change = 1 + (video.times[video.middle] - video.times[time]) * nearer
        torch.testing.assert_close(depth_after, change * depth, atol=1e-5, rtol=0)


def test_a_fit_begins_with_the_motion_of_its_tracks(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    trainer = prepare(rising(quick_video, 0.25, 0.3), quick_config, CPU)
    assert trainer.video.tracks is not None and trainer.scene.motion is not None
    means = trainer.scene.gaussians.means.detach()
    wanted = tracked_shifts(means, trainer.video, trainer.video.tracks)
    found = trainer.scene.motion.field.changes(means, trainer.video.times)["means"].detach()
    assert (found - wanted).abs().mean() < 0.1 * wanted.abs().mean()
    # All frames are sampled from the start: those that wait their turn would lose what is known of them.
    first = trainer.config.static_steps
    seen = {
        t for step in range(first, first + 20) for t in trainer.schedule.sample(step, trainer.sampler).times.tolist()
    }
    assert seen == set(range(quick_video.num_times))


@pytest.mark.parametrize(
    ("fades", "is_tracked", "expected"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_opacities_change_where_motion_was_tracked(
    quick_video: MultiViewVideo, quick_config: GenerateConfig, fades: bool, is_tracked: bool, expected: bool
) -> None:
    video = rising(quick_video, 0.2) if is_tracked else quick_video
    config = replace(quick_config, field=replace(quick_config.field, fade_tracked=fades))
    motion = prepare(video, config, torch.device("cpu")).scene.motion
    assert motion is not None and ("opacity_logits" in motion.field.heads) == expected


def test_without_tracks_nothing_moves_at_first(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    trainer = prepare(quick_video, quick_config, CPU)
    assert trainer.scene.motion is not None
    means = trainer.scene.gaussians.means.detach()
    assert trainer.scene.motion.field.changes(means, frame_times(3))["means"].abs().max() == 0


def test_parts_of_a_clip_have_other_middle_frames(quick_video: MultiViewVideo) -> None:
    assert rising(quick_video, 0.2).part(range(1, 4)).tracks is None


def test_frames_far_from_the_middle_one_are_sampled_more_often(
    quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    trainer = prepare(rising(quick_video, 0.25), quick_config, CPU)
    assert trainer.sampler.weights is not None
    far = (torch.arange(quick_video.num_times) - quick_video.middle).abs().float()
    moved = 0.25 * far / (quick_video.num_times - 1)
    torch.testing.assert_close(trainer.sampler.weights, 1 + 2 * (moved / 0.1).clamp(max=1))
    at_rest = prepare(rising(quick_video, 1e-4), quick_config, CPU).sampler.weights
    assert at_rest is not None and at_rest.max() < 1.01
    assert prepare(quick_video, quick_config, CPU).sampler.weights is None
