"""Seconds and peak memory of a run."""

import sys
import time

import numpy as np
import pytest
import torch

from ds4d.core import Stopwatch, peak_memory, reset_peak_memory

CPU = torch.device("cpu")
BLOCK = 80_000_000  # bytes
SLACK = 1_000_000  # bytes by which Linux may be late with its counts


def test_seconds_add_up_by_name() -> None:
    watch = Stopwatch()
    began = time.perf_counter()
    for name in ("fit", "evaluate", "fit"):
        with watch(name):
            time.sleep(0.002)
    elapsed = time.perf_counter() - began
    assert set(watch.seconds) == {"fit", "evaluate"}
    assert watch.seconds["fit"] >= 0.004 and watch.seconds["evaluate"] >= 0.002
    assert sum(watch.seconds.values()) <= elapsed


def test_peak_stays_after_memory_is_freed() -> None:
    before = peak_memory(CPU)["main"]
    block = np.ones(BLOCK, np.uint8)
    during = peak_memory(CPU)["main"]
    del block
    assert before > 50e6  # Python with torch alone takes more
    after = peak_memory(CPU)["main"]
    assert before - SLACK <= during and during - SLACK <= after


@pytest.mark.skipif(sys.platform != "linux", reason="main memory is only reset on Linux")
def test_reset_forgets_the_peak() -> None:
    block = np.ones(BLOCK, np.uint8)
    high = peak_memory(CPU)["main"]
    del block
    reset_peak_memory(CPU)
    assert peak_memory(CPU)["main"] < high - BLOCK // 2
