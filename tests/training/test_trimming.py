"""Lives end where Gaussians stick out of the object's silhouettes, or are loose beside it."""

from dataclasses import replace

import pytest
import torch
from appearing_ball import APPEARS, BODY, BOTH, FRAMES, PLACE, RENDERER, SIZE, scene_of, tracked, video_of

from ds4d.scene.lifetimes import FOREVER
from ds4d.training import DensificationConfig, StepDone, Trainer, TrainingConfig
from ds4d.training.trimming import trimmed_lifetimes
from ds4d.types import RawGaussians

BALL = slice(BODY.num_gaussians, None)  # of both: what the video shows in some frames only


def joined(*parts: RawGaussians) -> RawGaussians:
    names = RawGaussians.__dataclass_fields__
    return RawGaussians(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def rows(raw: RawGaussians, count: int) -> RawGaussians:
    return RawGaussians(**{name: getattr(raw, name)[:count] for name in RawGaussians.__dataclass_fields__})


@pytest.mark.parametrize(
    ("shown", "life"),
    [
        (range(8, 13), (0.75, 1.25)),
        (range(9), (-FOREVER, 0.85)),
        ([2, 3, *range(9, FRAMES)], (0.85, FOREVER)),  # the longer of two stretches
    ],
)
def test_what_some_frames_do_not_show_lives_in_the_others(shown: list[int], life: tuple[float, float]) -> None:
    """0.1 seconds lie between two frames. In all of them the ball is where the video shows it in some."""
    lifetimes = trimmed_lifetimes(scene_of(BOTH), video_of(shown))
    assert lifetimes is not None
    torch.testing.assert_close(lifetimes[BALL], torch.tensor(life).expand_as(lifetimes[BALL]))
    assert (lifetimes[: BODY.num_gaussians].abs() == FOREVER).all()


def test_what_no_frame_shows_lives_in_none_and_a_known_life_gets_no_longer() -> None:
    scene = scene_of(BOTH)
    known = torch.tensor([1.05, 1.55])
    scene.gaussians.lifetimes = known.repeat(BOTH.num_gaussians, 1)
    nothing = trimmed_lifetimes(scene, video_of([]))
    assert nothing is not None
    torch.testing.assert_close(nothing[: BODY.num_gaussians], known.expand(BODY.num_gaussians, 2))
    assert (nothing[BALL, 0] < nothing[BALL, 1]).all() and (nothing[BALL, 1] < 0).all()
    some = trimmed_lifetimes(scene, video_of(range(8, 13)))
    assert some is not None
    torch.testing.assert_close(some[BALL], torch.tensor([1.05, 1.25]).expand_as(some[BALL]))


def test_faint_gaussians_and_pixels_without_weight_say_nothing() -> None:
    faint = replace(BOTH, opacity_logits=torch.where(torch.arange(BOTH.num_gaussians) < 300, 2.0, -6.0))
    assert trimmed_lifetimes(scene_of(faint), video_of([])) is None
    video = video_of([])
    ball = video_of(range(FRAMES)).gather(torch.zeros(5, dtype=torch.long), torch.arange(5)).images
    differs = (ball - video.gather(torch.zeros(5, dtype=torch.long), torch.arange(5)).images).abs().amax(1) > 0.02
    weights = 1 - torch.nn.functional.max_pool2d(differs[:, None].float(), 5, 1, 2)
    weighted = replace(video, pixel_weights=weights.expand(FRAMES, -1, -1, -1, -1).contiguous())
    assert 0.5 < weights.mean() < 1 and weights.shape[-1] == SIZE
    assert trimmed_lifetimes(scene_of(BOTH), weighted) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_needles_are_found_by_their_ends(axis: int) -> None:
    """A Gaussian in the middle of the body whose longest axis, turned by 90 degrees about another one, leaves it."""
    scales = torch.full((1, 3), 0.01)
    scales[0, axis] = 0.3
    turned = torch.zeros(1, 4)
    turned[0, 0], turned[0, 1 + (axis + 1) % 3] = 2**-0.5, 2**-0.5

    def with_needle(scales: torch.Tensor) -> RawGaussians:
        one = RawGaussians(BODY.means.mean(0, True), turned, scales.log(), torch.tensor([2.0]), BODY.sh[:1])
        return joined(BODY, one)

    lifetimes = trimmed_lifetimes(scene_of(with_needle(scales)), video_of([]))
    assert lifetimes is not None
    assert (lifetimes[:, 1] < FOREVER).nonzero().flatten().tolist() == [BODY.num_gaussians]
    assert trimmed_lifetimes(scene_of(with_needle(scales.clamp(max=0.05))), video_of([])) is None


def test_no_gaussian_that_is_inside_is_touched() -> None:
    assert (APPEARS.means - PLACE).norm(dim=-1).max() <= 0.12
    assert trimmed_lifetimes(scene_of(BOTH), video_of(range(FRAMES))) is None


@pytest.mark.parametrize(("count", "is_loose"), [(1, True), (3, True), (30, False)])
def test_few_gaussians_with_nothing_around_are_loose(count: int, is_loose: bool) -> None:
    """Where the ball is, and where all masks are: 3 are less than .5 % of all, 30 more."""
    body = [BODY] * 3
    raw = joined(*body, rows(APPEARS, count))
    lifetimes = trimmed_lifetimes(scene_of(raw), video_of(range(FRAMES)))
    if not is_loose:
        assert lifetimes is None
        return
    assert lifetimes is not None
    assert (lifetimes[:, 1] < 0).nonzero().flatten().tolist() == list(range(900, 900 + count))


@pytest.mark.parametrize("is_on", [True, False])
def test_fits_of_tracked_clips_trim_lives(is_on: bool) -> None:
    """After step 8 of 10, and at the end, when what no frame shows is pruned."""
    density = DensificationConfig(start=1.0, add_for_frames=False, trim_lifetimes=is_on)
    config = TrainingConfig(static_steps=0, dynamic_steps=10, times_per_step=1, views_per_time=1, densification=density)
    raw = joined(BOTH, replace(rows(APPEARS, 30), means=rows(APPEARS, 30).means * torch.tensor([-1.2, 1.2, 1])))
    trainer = Trainer(scene_of(raw), tracked(video_of(range(8, 13))), RENDERER, config, 0)
    at_step = {}
    for event in trainer.run():
        lifetimes = trainer.scene.gaussians.lifetimes
        if isinstance(event, StepDone):
            at_step[event.step] = None if lifetimes is None else (lifetimes[300:600, 1] < FOREVER).float().mean()
    assert at_step[7] is None
    if is_on:
        assert at_step[8] > 0.9 and BODY.num_gaussians <= trainer.scene.num_gaussians <= BOTH.num_gaussians
    else:
        assert at_step[10] is None and trainer.scene.num_gaussians == raw.num_gaussians
