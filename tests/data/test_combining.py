"""Weights of views of different origin."""

from dataclasses import replace

import torch

from ds4d.data.combining import with_weights_of_input
from ds4d.types import MultiViewVideo


def test_weights_of_the_input_multiply_those_that_are_there(quick_video: MultiViewVideo) -> None:
    weights = torch.ones(quick_video.num_times, 1, 8, 8)
    weights[1, 0, :4] = 0.0
    alone = with_weights_of_input(quick_video, weights).pixel_weights
    assert alone is not None and torch.equal(alone[:, 0], weights) and (alone[:, 1:] == 1).all()
    halves = torch.full((*quick_video.valid.shape, 1, 4, 4), 0.5)
    both = with_weights_of_input(replace(quick_video, pixel_weights=halves), weights).pixel_weights
    assert both is not None and torch.equal(both[:, 0], 0.5 * weights) and (both[:, 1:] == 0.5).all()
