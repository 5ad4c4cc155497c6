"""Several processes that train one scene: shares of a step, equal results, checkpoints, and processes that end."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import in_processes
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.fusion import FusionConfig
from ds4d.losses import LossConfig, RenderRequest, Term
from ds4d.pipeline import prepare
from ds4d.training import RankLostError, Ranks, StepDone, Trainer, load_checkpoint, save_checkpoint
from ds4d.training.sampling import SampleBatch
from ds4d.types import MultiViewVideo, Rendering

CPU = torch.device("cpu")


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    """Three static and five dynamic steps, with densification after the fourth."""
    density = replace(quick_config.training.densification, every=4, start=0.0, stop=0.6)
    losses = LossConfig(mse=Term(0.5, views="input"), mask=Term(0.5, views="generated"), rigidity=0.1)
    training = replace(
        quick_config.training, static_steps=3, dynamic_steps=5, densification=density, losses=losses, times_per_step=3
    )
    return replace(quick_config, training=training, fusion=FusionConfig(rule="visible"))


@pytest.fixture
def video(quick_video: MultiViewVideo) -> MultiViewVideo:
    """A video whose other views are corrected, as generated ones are."""
    return replace(quick_video, view_weights=torch.tensor([1.0] + [0.5] * (quick_video.num_views - 1)))


def losses_and_state(trainer: Trainer) -> dict[str, Any]:
    """What training gives, as far as it is the same in every run."""
    losses = [(event.loss, *event.terms.values()) for event in trainer.run() if isinstance(event, StepDone)]
    state = trainer.state_dict()
    del state["seconds"]
    return {"losses": losses, "state": state}


def tensors(state: Any) -> list[Tensor]:
    """The tensors of nested dicts."""
    if isinstance(state, dict):
        return [tensor for part in state.values() for tensor in tensors(part)]
    return [state] if isinstance(state, Tensor) else []


def are_equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two results have the same bits."""
    pairs = zip(tensors(first), tensors(second), strict=True)
    return first["losses"] == second["losses"] and all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("times", "views"), [(4, 2), (1, 7), (3, 1)])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_shares_hold_every_image_once(times: int, views: int, count: int) -> None:
    batch = SampleBatch(
        torch.arange(times), torch.arange(times * views).unflatten(0, (times, views)), torch.rand(times, views, 3)
    )
    shares = [Ranks(number, count).share(batch) for number in range(count)]
    counted = [share for share in shares if share.part != 0]
    found = torch.cat([share.batch.views.flatten() for share in counted])
    assert sorted(found.tolist()) == list(range(times * views))
    assert sum(share.part or 1.0 for share in counted) == pytest.approx(1)
    leading = [time for share in shares if share.leads for time in share.batch.times.tolist()]
    assert sorted(leading) == list(range(times))
    for share in shares:
        assert torch.equal(batch.times[share.times], share.batch.times)
        assert torch.equal(share.batch.views // views, share.batch.times[:, None].expand_as(share.batch.views))


def test_processes_train_like_one(tmp_path: Path, video: MultiViewVideo, config: GenerateConfig) -> None:
    alone = losses_and_state(prepare(video, config, CPU))
    results = {
        count: in_processes(
            count, tmp_path / f"{count}", lambda ranks: losses_and_state(prepare(video, config, CPU, ranks=ranks))
        )
        for count in (2, 3)
    }
    for found in results.values():
        assert all(are_equal(found[0], other) for other in found[1:])
        # Adam turns a gradient that is 0 but for rounding into a step of full length.
        torch.testing.assert_close(found[0]["losses"], alone["losses"], rtol=2e-3, atol=2e-5)
        torch.testing.assert_close(found[0]["losses"][0], alone["losses"][0], rtol=1e-5, atol=1e-7)
        assert len(found[0]["state"]["neighbors"]) == len(alone["state"]["neighbors"])
    again = in_processes(
        2, tmp_path / "again", lambda ranks: losses_and_state(prepare(video, config, CPU, ranks=ranks))
    )
    assert are_equal(again[0], results[2][0])


class Brightness:
    """A loss of renderings from a camera at random, which differs from frame to frame."""

    name, weight = "brightness", 2.0

    def __init__(self, video: MultiViewVideo) -> None:
        self._cameras = video.cameras

    def request(self, times: Tensor, progress: float, generator: torch.Generator) -> RenderRequest:
        view = int(torch.randint(self._cameras.num_views, (), generator=generator))
        backgrounds = torch.rand(len(times), 1, 3, generator=generator)
        return RenderRequest(self._cameras[times, view : view + 1], backgrounds)

    def loss(self, request: RenderRequest, rendering: Rendering) -> Tensor:
        return rendering.colors.mean()

    def weight_of_others(self, progress: float) -> float:
        return progress


@pytest.mark.parametrize("guided", [False, True])
def test_summed_gradients_are_those_of_one_process(
    tmp_path: Path, video: MultiViewVideo, config: GenerateConfig, guided: bool
) -> None:
    """More processes than images, too: they count nothing."""

    def gradients(ranks: Ranks) -> list[Tensor]:
        training = replace(config.training, static_steps=0, dynamic_steps=1, times_per_step=2, views_per_time=1)
        trainer = prepare(video, replace(config, training=training), CPU, ranks=ranks)
        trainer.guide = Brightness(trainer.video) if guided else None
        found: list[Tensor] = []

        def keep(progress: float) -> None:
            found.extend(gradient.clone() for gradient in trainer.optimizer.gradients())

        trainer.optimizer.step = keep  # ty: ignore[invalid-assignment]
        next(trainer.run())
        return [*found, trainer.densification.grad2d, trainer.densification.count]

    alone = gradients(Ranks())
    for found in in_processes(3, tmp_path / "run", gradients):
        for own, other in zip(alone, found, strict=True):
            torch.testing.assert_close(other, own, rtol=1e-4, atol=1e-6 * float(own.abs().max() + 1))


def test_losses_with_cameras_of_their_own_add_up(tmp_path: Path, video: MultiViewVideo, config: GenerateConfig) -> None:
    """Without a rotation of the whole object: where nothing turns, Adam follows the rounding of its gradient."""
    assert config.field is not None
    config = replace(config, field=replace(config.field, root_rotation="off"))

    def guided(ranks: Ranks) -> dict[str, Any]:
        trainer = prepare(video, config, CPU, ranks=ranks)
        trainer.guide = Brightness(trainer.video)
        return losses_and_state(trainer)

    alone, found = guided(Ranks()), in_processes(3, tmp_path / "run", guided)
    assert are_equal(found[0], found[1]) and are_equal(found[0], found[2])
    torch.testing.assert_close(found[0]["losses"], alone["losses"], rtol=2e-3, atol=2e-5)


def test_checkpoints_move_between_numbers_of_processes(
    tmp_path: Path, video: MultiViewVideo, config: GenerateConfig
) -> None:
    """From one process to two and back; the loss of each step is that of one process."""

    def advanced(ranks: Ranks, path: Path, steps: int) -> list[float]:
        trainer = prepare(video, config, CPU, ranks=ranks)
        if path.is_file() and ranks.is_first:  # the others begin where the first does
            load_checkpoint(trainer, path)
        events = trainer.run()
        losses = [event.loss for event in (next(events) for _ in range(steps)) if isinstance(event, StepDone)]
        if ranks.is_first:
            save_checkpoint(trainer, path)
        return losses

    path = tmp_path / "last.safetensors"
    losses = advanced(Ranks(), path, 2)
    losses += in_processes(2, tmp_path / "two", lambda ranks: advanced(ranks, path, 4))[0]
    losses += advanced(Ranks(), path, 2)
    alone = advanced(Ranks(), tmp_path / "alone.safetensors", 8)
    assert losses == pytest.approx(alone, rel=2e-3) and len(losses) == 7


def test_an_early_end_comes_for_all_processes_at_once(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    training = replace(
        config.training, static_steps=0, dynamic_steps=110, temporal_curriculum=0.0, low_resolution_fraction=0.0,
        early_end_gain=100.0, losses=LossConfig(),
    )  # fmt: skip
    config = replace(config, training=training, fusion=None)

    def last_step(ranks: Ranks) -> tuple[int, bool]:
        trainer = prepare(quick_video, config, CPU, ranks=ranks)
        list(trainer.run())
        return trainer.step, trainer.is_finished

    assert in_processes(2, tmp_path / "run", last_step) == [(104, True)] * 2  # looks at 50 and 100, a mean over 4 steps


def test_a_process_that_ends_ends_the_others(tmp_path: Path, video: MultiViewVideo, config: GenerateConfig) -> None:
    def killed(ranks: Ranks) -> str:
        events = prepare(video, config, CPU, ranks=ranks).run()
        next(events)
        if not ranks.is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            next(events)
        except RankLostError as error:
            return str(error)
        return ""

    first, second = in_processes(2, tmp_path / "run", killed)
    assert "--resume" in first and second is None
