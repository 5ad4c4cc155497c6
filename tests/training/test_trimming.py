"""Lives end where Gaussians stick out of the masks of the views, or are loose beside the object."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from appearing_ball import APPEARS, BODY, FRAMES, PLACE, RENDERER, SIZE, first, joined, scene_of, tracked, video_of
from torch.nn import functional as F

from ds4d.scene.lifetimes import FOREVER
from ds4d.training import (
    DensificationConfig,
    StepDone,
    Trainer,
    TrainingConfig,
    load_checkpoint,
    save_checkpoint,
)
from ds4d.training.trimming import trimmed_lifetimes
from ds4d.types import ArrayFrames, MultiViewVideo, RawGaussians

COUNT = BODY.num_gaussians
FEW_OUT = joined(BODY, first(APPEARS, 12))  # as few as do not put the masks in doubt
BALL = slice(COUNT, None)


def with_masks(video: MultiViewVideo, masks: dict[tuple[int, int], torch.Tensor | float]) -> MultiViewVideo:
    """A video with other masks of some frames and views."""
    frames, views = torch.arange(FRAMES).repeat_interleave(5), torch.arange(5).repeat(FRAMES)
    batch = video.gather(frames, views)
    rgba = torch.cat((batch.images, batch.alphas), 1).view(FRAMES, 5, 4, SIZE, SIZE)
    for (frame, view), mask in masks.items():
        rgba[frame, view] *= mask
    return replace(video, frames=ArrayFrames((255 * rgba).round().byte().movedim(2, -1).numpy()))


@pytest.mark.parametrize(
    ("shown", "life"),
    [
        (range(8, 13), (0.75, 1.25)),
        (range(9), (-FOREVER, 0.85)),
        ([2, 3, *range(9, FRAMES)], (0.85, FOREVER)),  # the longer of two stretches
        ([*range(7), *range(8, FRAMES)], (0.75, FOREVER)),  # seven frames for one
    ],
)
def test_what_some_frames_do_not_show_lives_in_the_others(shown: list[int], life: tuple[float, float]) -> None:
    """0.1 seconds lie between two frames. In all of them the ball is where the video shows it in some."""
    lifetimes = trimmed_lifetimes(scene_of(FEW_OUT), video_of(shown))
    assert lifetimes is not None
    torch.testing.assert_close(lifetimes[BALL], torch.tensor(life).expand_as(lifetimes[BALL]))
    assert (lifetimes[:COUNT].abs() == FOREVER).all()


def test_one_frame_in_the_middle_does_not_halve_a_life() -> None:
    assert trimmed_lifetimes(scene_of(FEW_OUT), video_of([*range(12), *range(13, FRAMES)])) is None


def test_what_no_frame_shows_lives_in_none_and_a_known_life_gets_no_longer() -> None:
    scene = scene_of(FEW_OUT)
    known = torch.tensor([1.05, 1.55])
    scene.gaussians.lifetimes = known.repeat(FEW_OUT.num_gaussians, 1)
    nothing = trimmed_lifetimes(scene, video_of([]))
    assert nothing is not None
    torch.testing.assert_close(nothing[:COUNT], known.expand(COUNT, 2))
    assert (nothing[BALL, 0] < nothing[BALL, 1]).all() and (nothing[BALL, 1] < 0).all()
    some = trimmed_lifetimes(scene, video_of(range(8, 13)))
    assert some is not None
    torch.testing.assert_close(some[BALL], torch.tensor([1.05, 1.25]).expand_as(some[BALL]))


def test_faint_gaussians_and_pixels_without_weight_say_nothing() -> None:
    faint = replace(FEW_OUT, opacity_logits=torch.where(torch.arange(FEW_OUT.num_gaussians) < COUNT, 2.0, -6.0))
    assert trimmed_lifetimes(scene_of(faint), video_of([])) is None
    video, of_one = video_of([]), (torch.zeros(5, dtype=torch.long), torch.arange(5))
    differs = (video_of(range(FRAMES)).gather(*of_one).images - video.gather(*of_one).images).abs().amax(1) > 0.02
    weights = 1 - F.max_pool2d(differs[:, None].float(), 5, 1, 2)
    weighted = replace(video, pixel_weights=weights.expand(FRAMES, -1, -1, -1, -1).contiguous())
    assert 0.5 < weights.mean() < 1
    assert trimmed_lifetimes(scene_of(FEW_OUT), weighted) is None


@pytest.mark.parametrize("mask", ["empty", "torn"])
@pytest.mark.parametrize("view", [0, 2])
def test_a_mask_that_lacks_much_takes_no_lives(mask: str, view: int) -> None:
    columns = torch.arange(SIZE)
    lacks = torch.zeros(SIZE, SIZE) if mask == "empty" else (columns < SIZE // 2 - 3).float().expand(SIZE, SIZE)
    video = with_masks(video_of([]), {(10, view): lacks})
    assert trimmed_lifetimes(scene_of(BODY), video) is None
    always = with_masks(video_of([]), {(frame, view): lacks for frame in range(FRAMES)})
    assert trimmed_lifetimes(scene_of(BODY), always) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_needles_are_found_by_their_ends(axis: int) -> None:
    """A Gaussian in the middle of the body whose longest axis, turned by 90 degrees about another one, leaves it."""
    scales = torch.full((1, 3), 0.01)
    scales[0, axis] = 0.3
    turned = torch.zeros(1, 4)
    turned[0, 0], turned[0, 1 + (axis + 1) % 3] = 2**-0.5, 2**-0.5

    def with_needle(scales: torch.Tensor, opacity_logit: float = 2.0) -> RawGaussians:
        logits = torch.tensor([opacity_logit])
        return joined(BODY, RawGaussians(BODY.means.mean(0, True), turned, scales.log(), logits, BODY.sh[:1]))

    lifetimes = trimmed_lifetimes(scene_of(with_needle(scales)), video_of([]))
    assert lifetimes is not None
    assert (lifetimes[:, 1] < FOREVER).nonzero().flatten().tolist() == [COUNT]
    assert trimmed_lifetimes(scene_of(with_needle(scales.clamp(max=0.05))), video_of([])) is None
    assert trimmed_lifetimes(scene_of(with_needle(scales, -4.0)), video_of([])) is None  # its ends are not seen


@pytest.mark.parametrize(("count", "distance", "is_loose"), [(1, 0.0, True), (3, 0.0, True), (3, 0.9, False)])
def test_few_gaussians_with_nothing_around_are_loose(count: int, distance: float, is_loose: bool) -> None:
    """Where the ball is, before a larger part of the object; near the body they belong to it."""
    few = first(APPEARS, count)
    toward = BODY.means[BODY.means[:, 0].argmax()] - few.means.mean(0)
    few = replace(few, means=few.means.mean(0) + 0.1 * (few.means - few.means.mean(0)) + distance * toward)
    behind = replace(APPEARS, means=APPEARS.means + torch.tensor([0.0, -0.08, -0.4]))
    raw = joined(BODY, BODY, behind, few)
    video = with_masks(video_of(range(FRAMES)), {})
    everywhere = replace(video, pixel_weights=torch.zeros(FRAMES, 5, 1, SIZE, SIZE))  # only what is loose counts
    lifetimes = trimmed_lifetimes(scene_of(raw), everywhere)
    if is_loose:
        assert lifetimes is not None
        assert (lifetimes[:, 1] < 0).nonzero().flatten().tolist() == list(range(900, 900 + count))
    else:
        assert lifetimes is None


def test_a_small_part_that_the_input_view_shows_alone_stays() -> None:
    """Three Gaussians of more than six hundred in the middle of the ball, which the mask of view 0 shows."""
    small = first(APPEARS, 3)
    small = replace(small, means=PLACE + 0.1 * (small.means - PLACE))
    scene = scene_of(joined(BODY, BODY, small))
    assert trimmed_lifetimes(scene, video_of(range(FRAMES))) is None
    lifetimes = trimmed_lifetimes(scene, video_of(range(8)))
    assert lifetimes is not None
    assert (lifetimes[:, 1] < FOREVER).nonzero().flatten().tolist() == [600, 601, 602]


@pytest.mark.parametrize("means", [torch.zeros(300, 3), torch.full((300, 3), torch.nan), BODY.means * 1e30])
def test_scenes_without_an_extent_are_left_alone(means: torch.Tensor) -> None:
    """What is not finite is found when a scene is saved."""
    unseen = replace(video_of([]), pixel_weights=torch.zeros(FRAMES, 5, 1, SIZE, SIZE))
    assert trimmed_lifetimes(scene_of(replace(BODY, means=means)), unseen) is None


def trainer_of(raw: RawGaussians, is_on: bool = True) -> Trainer:
    density = DensificationConfig(start=1.0, add_for_frames=False, trim_lifetimes=is_on)
    config = TrainingConfig(static_steps=0, dynamic_steps=10, times_per_step=1, views_per_time=1, densification=density)
    return Trainer(scene_of(raw), tracked(video_of(range(8, 13))), RENDERER, config, 0)


def wandering() -> RawGaussians:
    """The body, some of the ball, and some where nothing is."""
    ball = first(APPEARS, 10)
    return joined(FEW_OUT, replace(first(ball, 3), means=ball.means[:3] * torch.tensor([-1.2, 1.2, 1.0])))


@pytest.mark.parametrize("is_on", [True, False])
def test_fits_of_tracked_clips_trim_lives(is_on: bool) -> None:
    """After step 8 of 10, and at the end, when what no frame shows is pruned."""
    trainer, dead = trainer_of(wandering(), is_on), {}
    for event in trainer.run():
        lifetimes = trainer.scene.gaussians.lifetimes
        if isinstance(event, StepDone):
            dead[event.step] = 0 if lifetimes is None else int((lifetimes[BALL, 1] < FOREVER).sum())
    assert dead[7] == 0 and dead[8] == dead[10] == (15 if is_on else 0)
    assert trainer.scene.num_gaussians == wandering().num_gaussians - 3 * is_on


def test_a_finished_fit_is_resumed_as_it_is(tmp_path: Path) -> None:
    whole, again = trainer_of(wandering()), trainer_of(wandering())
    list(whole.run())
    save_checkpoint(whole, tmp_path / "state.safetensors")
    load_checkpoint(again, tmp_path / "state.safetensors")
    again.scene.gaussians.means.data[0] += 9  # which would be pruned
    assert list(again.run()) == [] and again.scene.num_gaussians == whole.scene.num_gaussians


@pytest.mark.gpu
def test_a_scene_on_a_gpu_has_the_same_lives() -> None:
    scene, video = scene_of(wandering()), video_of(range(8, 13))
    ours = trimmed_lifetimes(scene.to("cuda"), video)
    theirs = trimmed_lifetimes(scene.to("cpu"), video)
    assert ours is not None and theirs is not None and torch.equal(ours, theirs)
