"""Freed memory of tensors is used again, as counted by the pages that the system clears.

Counted in a process of its own: where the heap of a worker ends is decided by the tests that ran in it before.
"""

import json
import subprocess
import sys

import pytest

from ds4d.core.allocator import _glibc

pytestmark = pytest.mark.skipif(_glibc() is None, reason="needs glibc")
ROUNDS = 20  # the first few may take fresh pages: aligned blocks leave gaps that the next does not fit into
TENSOR = 2**24  # numbers of 4 bytes: 64 MB, twice what the allocator keeps by itself
COUNT = f"""
import json, resource
import torch
from ds4d.core import freed_memory_kept

def cleared():
    torch.ones({TENSOR})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        torch.ones({TENSOR})
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1])

pages = {{"tensor": {TENSOR} * 4 // resource.getpagesize()}}
pages["cleared before"] = cleared()
with freed_memory_kept():
    pages["cleared within"] = cleared()
    pages["resident within"] = resident()
pages["resident after"] = resident()
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def pages() -> dict[str, int]:
    run = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_freed_memory_is_used_again_within_the_block(pages: dict[str, int]) -> None:
    assert pages["cleared before"] > 0.9 * ROUNDS * pages["tensor"]
    assert pages["cleared within"] < 0.5 * ROUNDS * pages["tensor"]


def test_freed_memory_is_given_back_at_the_end(pages: dict[str, int]) -> None:
    assert pages["resident after"] < pages["resident within"] - 0.9 * pages["tensor"]
