"""What a run takes."""

import time

import numpy as np
import torch

from ds4d.core import Stopwatch, peak_memory


def test_seconds_add_up_by_name() -> None:
    watch = Stopwatch()
    began = time.perf_counter()
    for name in ("fit", "scores", "fit"):
        with watch(name):
            time.sleep(0.002)
    elapsed = time.perf_counter() - began
    assert set(watch.seconds) == {"fit", "scores"}
    assert watch.seconds["fit"] >= 0.004 and watch.seconds["scores"] >= 0.002
    assert sum(watch.seconds.values()) <= elapsed


def test_a_peak_never_falls() -> None:
    before = peak_memory(torch.device("cpu"))["main"]
    block = np.ones(40_000_000, np.uint8)
    during = peak_memory(torch.device("cpu"))["main"]
    del block
    after = peak_memory(torch.device("cpu"))["main"]
    assert before > 50e6  # Python with torch alone takes more
    assert before <= during == after
