"""Gaussians that are born where those that stay cannot show what the images show, and die where they are not needed."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from appearing_ball import APPEARS, BODY, FRAMES, PLACE, RENDERER, SIZE, scene_of, tracked, video_of
from rank_processes import in_processes

from ds4d.core import with_overrides
from ds4d.scene import DynamicGaussians, endless_lifetimes
from ds4d.scene.lifetimes import FOREVER
from ds4d.training import GaussiansChanged, Ranks, StepDone, Trainer, TrainingConfig, load_checkpoint, save_checkpoint
from ds4d.training.births import Newborn, find_deaths, find_missing, find_newborn
from ds4d.types import MultiViewVideo, RawGaussians


def found_in(video: MultiViewVideo, known: range = range(3), count: int = 1000) -> Newborn | None:
    return find_newborn(scene_of(BODY), video, RENDERER, known, count, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shown", "known", "birth", "death"),
    [
        (range(9, FRAMES), range(3), 0.85, FOREVER),
        (range(9), range(21, FRAMES), -FOREVER, 0.85),
        (range(3, 14), range(3), 0.25, 1.35),
    ],
)
def test_what_appears_lives_in_the_frames_that_show_it(shown: range, known: range, birth: float, death: float) -> None:
    """0.1 seconds lie between two frames."""
    found = found_in(video_of(shown), known)
    assert found is not None
    torch.testing.assert_close(found.lifetimes, torch.tensor([[birth, death]]).expand_as(found.lifetimes))
    distances = (found.raw.means - PLACE).norm(dim=-1)
    assert distances.mean() < 0.22  # on the visual hull of five views, which is larger; the body is 0.55 away
    red, green, blue = (found.raw.sh[:, 0] * 0.2820948 + 0.5).mean(0).tolist()
    assert red > green > blue


@pytest.mark.parametrize(
    ("shown", "known"),
    [(range(0), range(3)), (range(8, 13), range(6)), (range(FRAMES), range(3))],
    ids=["all is shown", "for a few frames", "not new"],
)
def test_nothing_is_born_without_need(shown: range, known: range) -> None:
    assert found_in(video_of(shown), known) is None


def test_there_are_at_most_as_many_as_asked_for() -> None:
    found = found_in(video_of(range(9, FRAMES)), count=7)
    assert found is not None and found.raw.num_gaussians == 7


@pytest.mark.parametrize(("shown", "birth", "death"), [(range(14, FRAMES), 1.35, FOREVER), (range(8, 13), 0.75, 1.25)])
def test_what_only_some_frames_show_gets_gaussians_of_its_own(shown: range, birth: float, death: float) -> None:
    found = find_missing(scene_of(BODY), video_of(shown), RENDERER, 1000, torch.Generator().manual_seed(0))
    assert found is not None
    torch.testing.assert_close(found.lifetimes, torch.tensor([[birth, death]]).expand_as(found.lifetimes))
    assert 4 <= found.raw.num_gaussians <= BODY.num_gaussians / 3
    assert (found.raw.means - PLACE).norm(dim=-1).mean() < 0.22
    red, green, blue = (found.raw.sh[:, 0] * 0.2820948 + 0.5).mean(0).tolist()
    assert red > green > blue


@pytest.mark.parametrize("shown", [range(0), range(FRAMES)], ids=["all is shown", "all frames are alike"])
def test_frames_that_are_no_worse_than_others_get_none(shown: range) -> None:
    assert find_missing(scene_of(BODY), video_of(shown), RENDERER, 1000, torch.Generator().manual_seed(0)) is None


def test_runs_of_frames_apart_get_gaussians_each() -> None:
    """A third of what there are, and together no more than asked for."""
    video = replace(video_of(range(0)), frames=video_of([3, 4, 5, *range(18, 21)]).frames)
    found = find_missing(scene_of(BODY), video, RENDERER, 130, torch.Generator().manual_seed(0))
    assert found is not None and found.raw.num_gaussians == len(found.lifetimes) == 130
    lifetimes, counts = found.lifetimes.unique(dim=0, return_counts=True)
    torch.testing.assert_close(lifetimes, torch.tensor([[0.25, 0.55], [1.75, 2.05]]))
    assert sorted(counts.tolist()) == [30, 100] and BODY.num_gaussians == 300


def test_pixels_that_are_not_fitted_lack_nothing() -> None:
    """Where the ball is, no image has a weight."""
    video, weights = video_of(range(8, 13)), torch.ones(FRAMES, 5, 1, SIZE, SIZE)
    shown = (
        video.gather(torch.full((5,), 10), torch.arange(5)).images
        - video.gather(torch.zeros(5, dtype=torch.long), torch.arange(5)).images
    )
    weights[8:13] = (shown.abs().amax(1, keepdim=True) < 0.01).float()
    video = replace(video, pixel_weights=weights)
    assert find_missing(scene_of(BODY), video, RENDERER, 1000, torch.Generator().manual_seed(0)) is None


def holding(birth: float, death: float) -> DynamicGaussians:
    """The body, and the ball during a time, seconds."""
    names, count = RawGaussians.__dataclass_fields__, APPEARS.num_gaussians
    scene = scene_of(RawGaussians(**{name: torch.cat((getattr(BODY, name), getattr(APPEARS, name))) for name in names}))
    scene.gaussians.replace_last(APPEARS, torch.tensor([[birth, death]]).repeat(count, 1))
    return scene


@pytest.mark.parametrize(
    ("shown", "known", "life", "expected"),
    [
        (range(13), range(3), (-1.0, FOREVER), (-1.0, 1.25)),
        (range(13, FRAMES), range(21, FRAMES), (-FOREVER, 9.0), (1.25, 9.0)),
        (range(13), range(6), (0.25, FOREVER), (0.25, 1.25)),
    ],
)
def test_what_was_born_elsewhere_dies_where_images_do_not_show_it(
    shown: range, known: range, life: tuple[float, float], expected: tuple[float, float]
) -> None:
    scene = holding(*life)
    lifetimes = find_deaths(scene, video_of(shown), RENDERER, known)
    assert lifetimes is not None
    count = BODY.num_gaussians
    torch.testing.assert_close(lifetimes[count:], torch.tensor([expected]).repeat(APPEARS.num_gaussians, 1))
    assert torch.equal(lifetimes[:count], endless_lifetimes(count)), "the body"


@pytest.mark.parametrize(
    ("shown", "life"),
    [(range(FRAMES), (-1.0, FOREVER)), (range(5), (-1.0, 0.45)), (range(8, FRAMES), (0.75, FOREVER))],
    ids=["shown to the end", "dead by then", "born later"],
)
def test_what_is_needed_lives_on(shown: range, life: tuple[float, float]) -> None:
    assert find_deaths(holding(*life), video_of(shown), RENDERER, range(3)) is None
    assert find_deaths(scene_of(BODY), video_of(range(0)), RENDERER, range(3)) is None


@pytest.fixture
def config() -> TrainingConfig:
    overrides = {
        "static_steps": 0, "dynamic_steps": 18, "times_per_step": 2, "views_per_time": 2,
        "low_resolution_fraction": 0.0, "temporal_curriculum": 0.2, "densification.every": 4, "densification.stop": 1.0,
        "view_correction": None,
        "densification.grow_fraction": 0.2,
    }  # fmt: skip
    return with_overrides(TrainingConfig(), overrides)


def trainer_of(config: TrainingConfig, video: MultiViewVideo, new_gaussians: int = 500) -> Trainer:
    return Trainer(scene_of(BODY), video, RENDERER, config, 0, known_frame=0, new_gaussians=new_gaussians)


def test_only_the_new_are_trained_and_densified(config: TrainingConfig) -> None:
    trainer = trainer_of(config, video_of(range(9, FRAMES)))
    counts = [event.after for event in trainer.run() if isinstance(event, GaussiansChanged)]
    scene, count = trainer.scene, BODY.num_gaussians
    assert len(counts) > 1 and counts[0] > count and len(set(counts)) > 1 and max(counts) <= count + 500
    for name in RawGaussians.__dataclass_fields__:
        assert torch.equal(getattr(scene.canonical(), name)[:count], getattr(BODY, name)), name
    lifetimes = scene.gaussians.lifetimes
    assert lifetimes is not None and len(lifetimes) == scene.num_gaussians == counts[-1]
    assert (lifetimes[:count, 0] == -FOREVER).all() and (lifetimes[count:, 0] - 0.85).abs().max() < 1e-5
    started = trainer_of(replace(config, dynamic_steps=6), video_of(range(9, FRAMES)))
    list(started.run())
    assert not torch.equal(started.scene.gaussians.sh0[count : count + 4], scene.gaussians.sh0[count : count + 4])


def test_where_nothing_is_born_training_is_as_without_births(config: TrainingConfig) -> None:
    states = []
    for new_gaussians in (0, 500):
        trainer = trainer_of(config, video_of(range(0)), new_gaussians)
        assert not any(isinstance(event, GaussiansChanged) for event in trainer.run())
        states.append(trainer.scene.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(values, states[1][name]) for name, values in states[0].items())


@pytest.mark.parametrize("stop", [9, 16])
def test_a_whole_clip_that_was_tracked_gets_gaussians_for_frames_that_lack_them(
    config: TrainingConfig, tmp_path: Path, stop: int
) -> None:
    """After step 5 of 18, and lives are trimmed after 14; without tracks there are none. An interrupted fit goes on bit
    for bit."""
    config = replace(config, densification=replace(config.densification, start=1.0))
    video, count = video_of(range(8, 13)), BODY.num_gaussians

    def trainer_for(video: MultiViewVideo) -> Trainer:
        return Trainer(scene_of(BODY), video, RENDERER, config, 0)

    plain, whole, first, second = map(trainer_for, (video, *[tracked(video)] * 3))
    assert not any(isinstance(event, GaussiansChanged) for event in plain.run())
    change, *_ = [event for event in whole.run() if isinstance(event, GaussiansChanged)]
    assert change.step == 5 and change.before == count < change.after
    lifetimes = whole.scene.gaussians.lifetimes
    assert lifetimes is not None and lifetimes[:, 0].unique().tolist() == [-FOREVER, pytest.approx(0.75)]
    for _ in first.run():
        if first.step == stop:
            break
    save_checkpoint(first, tmp_path / "state.safetensors")
    load_checkpoint(second, tmp_path / "state.safetensors")
    list(second.run())
    theirs = whole.scene.state_dict()
    assert all(torch.equal(values, theirs[name]) for name, values in second.scene.state_dict().items())


def test_gaussians_for_frames_can_be_left_out_and_join_a_densification(config: TrainingConfig) -> None:
    video, densities = tracked(video_of(range(8, 13))), []
    for every, added in ((5, True), (5, False)):  # births and a densification come after step 5
        density = replace(config.densification, every=every, start=0.0, stop=0.5, add_for_frames=added)
        trainer = Trainer(scene_of(BODY), video, RENDERER, replace(config, densification=density), 0)
        first, *_ = [event for event in trainer.run() if isinstance(event, GaussiansChanged)]
        assert (first.step, first.before) == (5, BODY.num_gaussians)
        densities.append(first.after)
    assert densities[0] > densities[1] > BODY.num_gaussians


@pytest.mark.parametrize("stop", [3, 6, 11])
def test_an_interrupted_fit_goes_on_bit_for_bit(config: TrainingConfig, tmp_path: Path, stop: int) -> None:
    """Births come after step 6 of 18."""
    whole, first, second = (trainer_of(config, video_of(range(9, FRAMES))) for _ in range(3))
    list(whole.run())
    for _ in first.run():
        if first.step == stop:
            break
    save_checkpoint(first, tmp_path / "state.safetensors")
    load_checkpoint(second, tmp_path / "state.safetensors")
    list(second.run())
    ours, theirs = second.scene.state_dict(), whole.scene.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(values, theirs[name]) for name, values in ours.items())


@pytest.mark.parametrize("case", ["born", "dies", "tracked"])
def test_processes_revise_lifetimes_like_one(config: TrainingConfig, tmp_path: Path, case: str) -> None:
    """After step 5 or 6, as the first process finds; a checkpoint of step 7 goes on in another number of processes."""
    shown = {"born": range(9, FRAMES), "dies": range(13), "tracked": range(8, 13)}[case]
    is_tracked, dies = case == "tracked", case == "dies"
    video = tracked(video_of(shown)) if is_tracked else video_of(shown)
    if is_tracked:  # sums in another order choose others to be cloned
        config = replace(config, densification=replace(config.densification, start=1.0))
    of_window = {} if is_tracked else {"known_frame": 0, "new_gaussians": 500}

    def advanced(ranks: Ranks, steps: int, start: str, stop: str) -> tuple[list[float], dict[str, torch.Tensor]]:
        scene = holding(-1.0, FOREVER) if dies else scene_of(BODY)
        trainer = Trainer(scene, video, RENDERER, config, 0, ranks=ranks, **of_window)
        if start and ranks.is_first:  # the others begin where the first does
            load_checkpoint(trainer, tmp_path / start)
        losses = (event.loss for event in trainer.run() if isinstance(event, StepDone))
        found = list(itertools.islice(losses, steps))
        if ranks.is_first:
            save_checkpoint(trainer, tmp_path / stop)
        return found, trainer.scene.state_dict()

    def in_two(steps: int, start: str, stop: str) -> tuple[list[float], dict[str, torch.Tensor]]:
        both = in_processes(2, tmp_path / f"to {stop}", lambda ranks: advanced(ranks, steps, start, stop))
        (losses, state), (others, other) = both
        assert losses == others and all(torch.equal(values, other[name]) for name, values in state.items())
        return losses, state

    def assert_alike(losses: list[float], state: dict[str, torch.Tensor]) -> None:
        assert losses == pytest.approx(expected, rel=2e-3)
        assert torch.equal(state["gaussians.lifetimes"], revised)

    expected, state = advanced(Ranks(), 7, "", "one")
    revised = state["gaussians.lifetimes"]
    edge = revised[-1, 1 if dies else 0]
    torch.testing.assert_close(edge, torch.tensor({"born": 0.85, "dies": 1.25, "tracked": 0.75}[case]))
    assert_alike(*in_two(7, "", "two"))
    rest = 8 if is_tracked else 4  # lives are trimmed after step 14
    expected, state = advanced(Ranks(), rest, "one", "end")
    revised = state["gaussians.lifetimes"]
    assert_alike(*in_two(rest, "one", "end in two"))
    assert_alike(*advanced(Ranks(), rest, "two", "end"))
