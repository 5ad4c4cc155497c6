"""Which times, views and backgrounds each step of the fit looks at."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """What one step looks at: T times with V views each.

    Attributes:
        times: frame indices, all different.
        views: for each of them, view indices.
        backgrounds: plain colors in [0, 1].
    """

    times: Int[Tensor, " T"]
    views: Int[Tensor, "T V"]
    backgrounds: Float[Tensor, "T V 3"]


class Sampler:
    """Draws (time, view) pairs, from one seeded generator, all of them before any of them again.

    Times come in shuffled rounds over the window, and the views of a time in shuffled rounds of their own, so that
    every image is seen equally often however few are looked at per step.
    """

    def __init__(self, valid: Bool[Tensor, "T V"], generator: torch.Generator) -> None:
        self.valid = valid
        self.generator = generator
        self._round: list[int] = []
        self._views: dict[int, list[int]] = {}

    def draw(self, window: tuple[int, int], times: int, views: int) -> Draw:
        """One step's pairs from the frames `window[0]` to `window[1]`, both included; at most all of them."""
        chosen_times = self._next_times(window, times)
        views = min(views, self.valid.shape[1])
        chosen_views = [self._next_views(time, views) for time in chosen_times]
        backgrounds = torch.rand(len(chosen_times), views, 3, generator=self.generator)
        return Draw(torch.tensor(chosen_times), torch.tensor(chosen_views), backgrounds)

    def state_dict(self) -> dict[str, list]:
        """What is left of the rounds."""
        return {"round": list(self._round), "views": [[time, *views] for time, views in self._views.items()]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Continues where the state was taken."""
        self._round = list(state["round"])
        self._views = {row[0]: row[1:] for row in state["views"]}

    def _shuffled(self, items: list[int]) -> list[int]:
        return [items[i] for i in torch.randperm(len(items), generator=self.generator).tolist()]

    def _next_times(self, window: tuple[int, int], count: int) -> list[int]:
        first, last = window
        frames = [time for time in range(first, last + 1) if self.valid[time].any()]
        inside = set(frames)
        self._round = [time for time in self._round if time in inside]
        chosen: list[int] = []
        while len(chosen) < min(count, len(frames)):
            if not self._round:
                self._round = self._shuffled(frames)
            # A round may begin amid a step: what the step has already got waits for the next one.
            chosen.append(next(time for time in self._round if time not in chosen))
            self._round.remove(chosen[-1])
        return chosen

    def _next_views(self, time: int, count: int) -> list[int]:
        queue = self._views.get(time, [])
        while len(queue) < count:
            queue = self._shuffled(self.valid[time].nonzero().squeeze(1).tolist()) + queue
        self._views[time] = queue[:-count]
        return queue[-count:]
