import math

import pytest
import torch

from ds4d.core import Warned, notices_to
from ds4d.pipeline.results import warn_of_poor_frames


def warnings_of(*scores: float) -> list[Warned]:
    notices: list = []
    with notices_to(notices.append):
        warn_of_poor_frames(torch.tensor(scores))
    return notices


def test_frames_far_below_the_median_are_named() -> None:
    """As of a ten-second clip whose first frames came out as shards, while the mean looked good."""
    (warned,) = warnings_of(16.6, 18.7, 31.0, 31.2, 30.9, 31.4, 26.0, 31.1, math.nan)
    assert warned.part == "fit"
    for part in ("3 of 9", "0 to 1, 6", "16.6", "26.0", "30.9", "--fps"):
        assert part in warned.message


@pytest.mark.parametrize("scores", [(30.0,), (30.0, 27.0, 31.0, 29.0), (math.nan, 30.0)])
def test_even_frames_give_no_warning(scores: tuple[float, ...]) -> None:
    assert warnings_of(*scores) == []
