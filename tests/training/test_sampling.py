"""Sampling: all images are used equally often, however few per step."""

from collections import Counter

import pytest
import torch

from ds4d.training.sampling import SampleBatch, Sampler


def sampler_of(valid: torch.Tensor, seed: int = 0) -> Sampler:
    return Sampler(valid, torch.Generator().manual_seed(seed))


def pairs_of(batch: SampleBatch) -> list[tuple[int, int]]:
    return [(time, view) for time, row in zip(batch.times.tolist(), batch.views.tolist(), strict=True) for view in row]


@pytest.mark.parametrize(("times", "views"), [(1, 1), (2, 1), (2, 2), (3, 3), (4, 1)])
def test_images_are_used_equally_often(times: int, views: int) -> None:
    T, V, rounds = 5, 3, 4
    sampler = sampler_of(torch.ones(T, V, dtype=torch.bool))
    steps = rounds * T * V
    seen = Counter(pair for _ in range(steps) for pair in pairs_of(sampler.sample((0, T - 1), times, views)))
    assert seen == Counter({(t, v): rounds * times * views for t in range(T) for v in range(V)})


def test_times_of_a_step_differ() -> None:
    sampler = sampler_of(torch.ones(5, 2, dtype=torch.bool))
    for _ in range(50):
        assert len(set(sampler.sample((0, 4), 3, 1).times.tolist())) == 3


def test_some_views_come_first_at_every_time_and_the_others_take_turns() -> None:
    valid = torch.ones(4, 7, dtype=torch.bool)
    valid[3, 0] = False
    sampler = Sampler(valid, torch.Generator().manual_seed(0))
    counts = torch.zeros(4, 7, dtype=torch.int)
    for _ in range(60):
        batch = sampler.sample((0, 3), 2, 3, always=[0])
        for time, views in zip(batch.times.tolist(), batch.views.tolist(), strict=True):
            assert (views[0] == 0) == (time != 3)
            counts[time, views] += 1
    assert (counts[:3, 1:] == 10).all() and (counts[3, 1:] == 15).all()


def test_a_time_with_nothing_but_the_first_view_repeats_it() -> None:
    sampler = Sampler(torch.tensor([[True, False, False]]), torch.Generator().manual_seed(0))
    assert sampler.sample((0, 0), 1, 2, always=[0]).views.tolist() == [[0, 0]]


def test_missing_images_are_not_sampled() -> None:
    valid = torch.tensor([[True, False, True], [False, False, False], [True, True, False]])
    sampler = sampler_of(valid)
    seen = {pair for _ in range(30) for pair in pairs_of(sampler.sample((0, 2), 2, 2))}
    assert seen == {(0, 0), (0, 2), (2, 0), (2, 1)}


def test_times_stay_in_a_changing_window() -> None:
    sampler = sampler_of(torch.ones(9, 2, dtype=torch.bool))
    for window in ((4, 4), (3, 5), (0, 8), (2, 3)):
        seen = {time for _ in range(20) for time in sampler.sample(window, 2, 1).times.tolist()}
        assert seen == set(range(window[0], window[1] + 1))


def test_a_step_has_at_most_all_images() -> None:
    batch = sampler_of(torch.ones(2, 3, dtype=torch.bool)).sample((0, 1), 8, 8)
    assert sorted(pairs_of(batch)) == [(t, v) for t in range(2) for v in range(3)]
    assert batch.backgrounds.shape == (2, 3, 3)
    assert (batch.backgrounds >= 0).all() and (batch.backgrounds <= 1).all()


def test_seed_determines_samples() -> None:
    def samples(seed: int) -> list[list[tuple[int, int]]]:
        sampler = sampler_of(torch.ones(6, 4, dtype=torch.bool), seed)
        return [pairs_of(sampler.sample((0, 5), 2, 2)) for _ in range(10)]

    assert samples(1) == samples(1) != samples(2)


def test_load_state_dict_continues_the_epochs() -> None:
    first = sampler_of(torch.ones(5, 3, dtype=torch.bool))
    for _ in range(7):
        first.sample((0, 4), 2, 2)
    second = sampler_of(torch.ones(5, 3, dtype=torch.bool), seed=99)
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for _ in range(20):
        ours, theirs = second.sample((0, 4), 2, 2), first.sample((0, 4), 2, 2)
        assert pairs_of(ours) == pairs_of(theirs)
        assert torch.equal(ours.backgrounds, theirs.backgrounds)


def test_a_batch_arrives_as_it_was_packed(generator: torch.Generator) -> None:
    batch = Sampler(torch.ones(5, 4, dtype=torch.bool), generator).sample((0, 4), 3, 2)
    arrived = batch._unpacked(batch._packed())
    assert all(torch.equal(getattr(arrived, name), value) for name, value in vars(batch).items())
    assert batch.on(torch.device("cpu")) is batch


def test_times_come_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([1.0, 1.0, 4.0, 2.0, 0.5])
    sampler = Sampler(torch.ones(5, 2, dtype=torch.bool), torch.Generator().manual_seed(0), weights)
    drawn = [sampler.sample((0, 4), 2, 1).times.tolist() for _ in range(850)]
    assert all(len(set(times)) == 2 for times in drawn)
    seen = Counter(time for times in drawn for time in times)
    assert [seen[time] for time in range(5)] == pytest.approx([200, 200, 800, 400, 100], abs=30)
    assert {time for _ in range(40) for time in sampler.sample((3, 4), 2, 1).times.tolist()} == {3, 4}


@pytest.mark.gpu
def test_a_batch_arrives_on_a_gpu(generator: torch.Generator) -> None:
    batch = Sampler(torch.ones(5, 4, dtype=torch.bool), generator).sample((0, 4), 3, 2)
    arrived = batch.on(torch.device("cuda"))
    assert all(torch.equal(getattr(arrived, name).cpu(), value) for name, value in vars(batch).items())


@pytest.mark.parametrize(("count", "frames"), [(8, 8), (8, 9), (12, 8)])
def test_weights_wait_for_nothing_where_a_batch_holds_nearly_all_times(count: int, frames: int) -> None:
    weights = torch.linspace(1, 3, frames)
    sampler = Sampler(torch.ones(frames, 1, dtype=torch.bool), torch.Generator().manual_seed(0), weights)
    for _ in range(200):
        times = sampler.sample((0, frames - 1), count, 1).times.tolist()
        assert len(set(times)) == len(times) == min(count, frames)
    assert len(sampler.state_dict()["times"]) <= 3 * frames
