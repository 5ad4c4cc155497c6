"""Batches on a fake clock: nothing is lost or done twice, whatever happens to the workers."""

from dataclasses import replace

import pytest

from ds4d.batch.simulation import Simulation, SimulationConfig

HARSH = SimulationConfig(
    objects=400, workers=20, preemptions=0.9, stalls=0.9, stall=600.0, failures=0.1, restart=30.0, per_bucket=50
)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_done_twice(seed: int) -> None:
    outcome = Simulation(replace(HARSH, seed=seed)).run()
    assert (outcome.missing, outcome.duplicates) == (0, 0)
    assert outcome.done + outcome.set_aside == HARSH.objects
    assert outcome.preempted > 5 and outcome.takeovers > 5


def test_workers_that_wake_up_find_their_objects_taken() -> None:
    outcome = Simulation(replace(HARSH, preemptions=0.0, stall=1800.0)).run()
    assert outcome.takeovers > 0 and outcome.lost > 0
    assert (outcome.missing, outcome.duplicates) == (0, 0)


def test_useful_work_with_rare_preemptions() -> None:
    config = SimulationConfig(objects=6000, workers=10, stragglers=0.0)
    outcome = Simulation(config).run()
    assert outcome.preempted > 0 and outcome.duplicates == 0 and outcome.missing == 0
    assert outcome.useful_fraction > 0.97


def test_checkpoints_save_what_preemptions_lose() -> None:
    config = replace(HARSH, stalls=0.0, failures=0.0, median=600.0)
    without, with_checkpoints = (Simulation(replace(config, checkpoint=each)).run() for each in (0.0, 30.0))
    assert with_checkpoints.lost < without.lost / 4


def test_idle_workers_that_leave_lose_nothing_and_cost_less() -> None:
    config = replace(HARSH, objects=200, stalls=0.0, slowdown=20.0, stragglers=0.05)
    waiting, leaving = (Simulation(replace(config, idle_timeout=each)).run() for each in (0.0, 240.0))
    assert (leaving.missing, leaving.duplicates) == (0, 0)
    assert leaving.paid < 0.8 * waiting.paid


def test_the_same_seed_gives_the_same_batch() -> None:
    assert Simulation(HARSH).run() == Simulation(HARSH).run()


def test_workers_must_stay_long_enough_to_see_that_another_is_dead() -> None:
    with pytest.raises(ValueError, match="idle_timeout"):
        replace(HARSH, idle_timeout=1.9 * HARSH.timeout)
