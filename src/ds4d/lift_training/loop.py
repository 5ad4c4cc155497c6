"""The training loop: drawing, prediction, loss, step; on one device or, by torch.distributed, on several."""

import os
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributed as dist

from ds4d.io import atomic_path
from ds4d.lift_training.appearance import random_appearance
from ds4d.lift_training.corruption import input_images
from ds4d.lift_training.images import RandomCameras, Surfaces, draw, random_cameras
from ds4d.lift_training.lifted import turned
from ds4d.lift_training.model_pool import Choice, ModelPool, Samples
from ds4d.lift_training.objective import objective_terms, weighted_sum
from ds4d.lift_training.optimizer import MuonAndAdamW
from ds4d.lift_training.render_loss import render_error
from ds4d.lift_training.settings import TrainSettings
from ds4d.lift_training.warp import random_warps, warped
from ds4d.multiview.lift.checkpoint import read_network
from ds4d.multiview.lift.inputs import network_inputs
from ds4d.multiview.lift.network import LiftNetwork, Prediction, TransformerBlock, predict

_CLOCK_STEPS = 10  # between two looks at the clock, at which processes wait for each other

Rows = TypeVar("Rows")
Given = ParamSpec("Given")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Step:
    """One line of the log.

    Attributes:
        images: training images so far, of all processes and runs.
        loss: mean loss since the last line.
        terms: mean of each term before its weight.
        per_second: images per second since the last line, of all processes.
        learning_rate: current learning rate.
        seconds: duration of this run.
    """

    images: int
    loss: float
    terms: dict[str, float]
    per_second: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Batch:
    """Training images.

    Attributes:
        inputs: input of the network.
        surfaces: what is true.
        cameras: cameras of the images.
        other_cameras: cameras on other sides of the first images, if their shapes are rendered.
        other_views: what these cameras see.
    """

    inputs: Float[Tensor, "B 8 H W"]
    surfaces: Surfaces
    cameras: RandomCameras
    other_cameras: RandomCameras | None = None
    other_views: Surfaces | None = None


class Trainer:
    """Trains a network.

    Args:
        settings: settings.
        pool: models to train on.
        rank: number of this process, from 0.
        processes: number of processes.
    """

    def __init__(self, settings: TrainSettings, pool: ModelPool, *, rank: int = 0, processes: int = 1) -> None:
        self.settings, self.pool, self.rank, self.processes = settings, pool, rank, processes
        self.device = pool.vertices.device
        torch.manual_seed(settings.seed)
        self.images = 0
        self.earlier_runs: list[dict[str, Any]] = []
        self.network = LiftNetwork(settings.network)
        state = self._resumed_state() if settings.resume else None
        self.network.to(self.device)
        self.average = deepcopy(self.network).requires_grad_(False).eval()
        for module in self.network.modules():
            if isinstance(module, TransformerBlock):
                module.dropout = settings.dropout
        self.optimizer = MuonAndAdamW(
            self.network, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
        )
        if state is not None:
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.generator = torch.Generator(self.device).manual_seed(settings.seed + 7919 * rank + self.images)
        self._warped, self._drawn = self._compiled(warped), self._compiled(draw)
        self._network_inputs = self._compiled(network_inputs)
        self._step = self._make_step()

    def run(self) -> Iterator[Step]:
        """Trains, and yields a line of the log from time to time."""
        settings, began = self.settings, time.perf_counter()
        per_step, before, last = settings.batch * self.processes, self.images, (began, self.images)
        totals: dict[str, Tensor] = {}
        steps, elapsed = 0, 0.0
        while (progress := max((self.images - before) / settings.images, elapsed)) < 1:
            rate = settings.learning_rate * min(
                1.0, (steps + 1) / max(1, settings.warmup), (1 - progress) / max(settings.cooldown, 1e-6)
            )
            self.optimizer.set_learning_rate(rate)
            for name, value in self._step().items():
                totals[name] = totals.get(name, 0) + value
            steps += 1
            self.images += per_step
            if steps % _CLOCK_STEPS == 0:
                elapsed = self._elapsed(time.perf_counter() - began)
            if steps % settings.every == 0:
                means = {name: float(value) / settings.every for name, value in totals.items()}
                now = time.perf_counter()
                per_second = (self.images - last[1]) / (now - last[0])
                yield Step(self.images, means.pop("loss"), means, per_second, rate, now - began)
                totals, last = {}, (now, self.images)

    @torch.no_grad()
    def draw(self) -> Batch:
        """Random training images."""
        settings, count, size = self.settings, self.settings.batch, self.settings.network.size
        choice = self.pool.choose(count, self.generator)
        samples = self._samples(choice)
        cameras = random_cameras(samples.positions, settings.cameras, self.generator)
        looks = random_appearance(count, settings.appearance, self.generator, self.device)
        surfaces = self._drawn(self.pool, choice, samples, cameras, looks, size)
        images = input_images(surfaces, settings.corruption, self.generator)
        inputs = self._network_inputs(images, cameras.rays(size)).contiguous(memory_format=torch.channels_last)
        batch, few = Batch(inputs, surfaces, cameras), min(count, settings.render.images)
        if not few:
            return batch
        azimuths = 40 + 280 * torch.rand(few, device=self.device, generator=self.generator)
        others = turned(samples.positions[:few], first(cameras, few), azimuths)
        views = self._drawn(self.pool, first(choice, few), first(samples, few), others, first(looks, few), size)
        return replace(batch, other_cameras=others, other_views=views)

    @torch.no_grad()
    def _samples(self, choice: Choice) -> Samples:
        warps = random_warps(len(choice.models), self.settings.warps, self.generator, self.device)
        return self._warped(self.pool.samples(choice), warps)

    def save_state(self, path: Path) -> None:
        """Writes what a later run needs to continue."""
        state = {
            "images": self.images,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def _resumed_state(self) -> dict[str, Any] | None:
        """Loads the network of an earlier run; returns the rest of its state, if that was kept."""
        found = read_network(self.settings.out)
        network, asked = found.network, self.settings.network
        if replace(network.config, depth=asked.depth) != asked or network.config.depth > asked.depth:
            raise ValueError(
                f"network must be that of {self.settings.out}, {network.config}, or deeper, got {asked}. "
                "Give the same size, or train without --resume."
            )
        # Blocks that are added change nothing at first: their last layers are 0.
        self.network.load_state_dict({**self.network.state_dict(), **network.state_dict()})
        self.images = found.card["images"]
        self.earlier_runs = found.card.get("runs", [])
        path = state_path(self.settings.out)
        if not path.is_file() or network.config != asked:
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.images = state["images"]
        return dict(state)

    def _elapsed(self, seconds: float) -> float:
        """The part of the time limit that is over; all processes must agree on it, and so on the last step."""
        elapsed = seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        if self.processes > 1:
            shared = torch.tensor(elapsed, device=self.device)
            dist.broadcast(shared, 0)
            elapsed = float(shared)
        return elapsed

    def _compiled(self, function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        return torch.compile(function, dynamic=False) if self.settings.compile else function

    def _make_step(self) -> Callable[[], dict[str, Tensor]]:
        settings, cuda = self.settings, self.device.type == "cuda"
        network = self.network

        def predict_images(inputs: Tensor) -> Prediction:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=cuda):
                corrections = network(inputs)
            return predict(corrections, inputs)

        predicted, terms_of = self._compiled(predict_images), self._compiled(objective_terms)
        parameters: list[Tensor] = list(self.network.parameters())
        averages: list[Tensor] = list(self.average.parameters())

        def step() -> dict[str, Tensor]:
            batch = self.draw()
            prediction = predicted(batch.inputs)
            terms = terms_of(prediction, batch.surfaces, batch.inputs[:, 3])
            loss = weighted_sum(terms, settings.weights)
            if batch.other_cameras is not None and batch.other_views is not None:
                few = len(batch.other_cameras.focals)
                seen = first(prediction, few), batch.inputs[:few], first(batch.cameras, few)
                terms["render"] = render_error(*seen, batch.other_cameras, batch.other_views)
                loss = loss + settings.render.weight * terms["render"]
            self.optimizer.zero_grad()
            loss.backward()
            if self.processes > 1:
                _average_gradients(parameters, self.processes)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(averages, parameters, weight=1 - settings.ema)
            return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

        return step


def _average_gradients(parameters: list[Tensor], processes: int) -> None:
    """The mean over all processes, in one message: the network is small, and stays one compiled graph."""
    gradients = [each.grad for each in parameters if each.grad is not None]
    flat = torch.cat([each.flatten() for each in gradients])
    dist.all_reduce(flat)
    parts = (flat / processes).split([each.numel() for each in gradients])
    torch._foreach_copy_(gradients, [part.view_as(each) for part, each in zip(parts, gradients, strict=True)])


def state_path(out: Path) -> Path:
    """The resumable state beside a network's file."""
    return out.with_suffix(".state.pt")


def process_group() -> tuple[int, int]:
    """Joins the processes that torchrun started; this process's rank and their number."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return 0, 1
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), processes


def first(values: Rows, count: int) -> Rows:
    """The first rows of a dataclass of tensors."""
    return type(values)(**{name: value[:count] for name, value in vars(values).items()})
