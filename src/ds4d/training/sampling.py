"""Sampling of times, views and backgrounds for each training step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SampleBatch:
    """The images of one training step: T times with V views each.

    Attributes:
        times: frame indices, all different.
        views: view indices of each time.
        backgrounds: plain background colors in [0, 1].
    """

    times: Int[Tensor, " T"]
    views: Int[Tensor, "T V"]
    backgrounds: Float[Tensor, "T V 3"]

    def on(self, device: torch.device) -> "SampleBatch":
        """The same batch on a device. One copy to a GPU, which nothing waits for: each `.to` would wait for the GPU."""
        if self.times.device == device:
            return self
        packed = self._packed()
        if device.type == "cuda":
            packed = packed.pin_memory()
        return self._unpacked(packed.to(device, non_blocking=True))

    def pairs(self) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"]]:
        """Frame and view index of each image."""
        return self.times[:, None].expand_as(self.views).flatten(), self.views.flatten()

    def _packed(self) -> Int[Tensor, " numbers"]:
        """All numbers one after the other; colors by their bits."""
        return torch.cat((self.times.int(), self.views.flatten().int(), self.backgrounds.flatten().view(torch.int32)))

    def _unpacked(self, packed: Int[Tensor, " numbers"]) -> "SampleBatch":
        """The batch of this one's sizes from its packed numbers."""
        indices, colors = packed.split((self.times.numel() + self.views.numel(), self.backgrounds.numel()))
        times, views = indices.long().split((self.times.numel(), self.views.numel()))
        backgrounds = colors.view(torch.float32).view(self.backgrounds.shape)
        return SampleBatch(times, views.view(self.views.shape), backgrounds)


class Sampler:
    """Samples (time, view) pairs without replacement.

    Times are sampled in shuffled epochs over the window, and the views of a time in shuffled epochs of their own, so
    that all images are used equally often, however few per step. With weights, an epoch holds a time as often as its
    weight says, up or down to a whole number.

    Args:
        valid: (time, view) pairs that have an image.
        generator: random generator.
        weights: how often each time is sampled, relative to the others, above 0; None samples all equally often.
    """

    def __init__(
        self, valid: Bool[Tensor, "T V"], generator: torch.Generator, weights: Float[Tensor, " T"] | None = None
    ) -> None:
        self.valid = valid
        self.weights = weights
        self.generator = generator
        # As lists: asking the tensor some twenty times a step would take longer than launching the step's kernels.
        self._views_of = [row.nonzero().squeeze(1).tolist() for row in valid]
        self._times: list[int] = []
        self._views: dict[int, list[int]] = {}

    def sample(
        self, window: tuple[int, int], num_times: int, num_views: int, always: Sequence[int] = ()
    ) -> SampleBatch:
        """The next batch, at most all images of the window.

        Args:
            window: first and last frame to be sampled, both included.
            num_times: times per batch.
            num_views: views per time.
            always: views that come first at each time that has them; the others take turns in what is left.
        """
        times = self._next_times(window, num_times)
        num_views = min(num_views, self.valid.shape[1])
        views = [self._next_views(time, num_views, always) for time in times]
        backgrounds = torch.rand(len(times), num_views, 3, generator=self.generator)
        return SampleBatch(torch.tensor(times), torch.tensor(views), backgrounds)

    def state_dict(self) -> dict[str, list]:
        """The rest of the current epochs."""
        return {"times": list(self._times), "views": [[time, *views] for time, views in self._views.items()]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Continues the epochs of `state_dict`."""
        self._times = list(state["times"])
        self._views = {row[0]: row[1:] for row in state["views"]}

    def _shuffled(self, items: list[int]) -> list[int]:
        return [items[i] for i in torch.randperm(len(items), generator=self.generator).tolist()]

    def _next_times(self, window: tuple[int, int], count: int) -> list[int]:
        first, last = window
        frames = [time for time in range(first, last + 1) if self._views_of[time]]
        if self.weights is not None and count >= len(frames):
            return self._shuffled(frames)  # all of them: there is nothing to weigh
        inside = set(frames)
        self._times = [time for time in self._times if time in inside]
        chosen: list[int] = []
        while len(chosen) < min(count, len(frames)):
            # An epoch may begin within a batch: times that the batch already holds wait for the next one.
            found = next((time for time in self._times if time not in chosen), None)
            if found is None:
                if len(self._times) >= len(frames):  # repetitions of times that the batch holds, which would pile up
                    self._times.clear()
                self._times += self._shuffled(self._epoch(frames))
                continue
            chosen.append(found)
            self._times.remove(found)
        return chosen

    def _epoch(self, frames: list[int]) -> list[int]:
        """The times of an epoch, repeated and left out by their weights (systematic sampling)."""
        if self.weights is None:
            return frames
        weights = self.weights[frames]
        ends = (weights / weights.mean()).cumsum(0) + torch.rand(1, generator=self.generator)
        counts = ends.floor().diff(prepend=torch.zeros(1)).long()
        return torch.tensor(frames).repeat_interleave(counts).tolist()

    def _next_views(self, time: int, count: int, always: Sequence[int]) -> list[int]:
        views = self._views_of[time]
        first = [view for view in always if view in views][:count]
        others = [view for view in views if view not in first] or views
        queue = [view for view in self._views.get(time, []) if view in others]
        count -= len(first)
        while len(queue) < count:
            queue = self._shuffled(others) + queue
        self._views[time] = queue[: len(queue) - count]
        return first + queue[len(queue) - count :]
