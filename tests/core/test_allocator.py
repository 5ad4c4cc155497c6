"""Freed memory of tensors is used again, as counted by the pages that the system clears."""

import resource

import pytest
import torch

from ds4d.core import freed_memory_kept
from ds4d.core.allocator import _glibc

pytestmark = pytest.mark.skipif(_glibc() is None, reason="needs glibc")
PAGES = 2**24 // resource.getpagesize()  # of a tensor of 16 MB
ROUNDS = 10


def cleared_pages() -> int:
    """How many pages are cleared while such a tensor is made again and again."""
    torch.ones(2**22)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        torch.ones(2**22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1])


def test_freed_memory_is_used_again_within_the_block_alone() -> None:
    with freed_memory_kept():
        assert cleared_pages() < 0.3 * ROUNDS * PAGES
    assert cleared_pages() > 0.9 * ROUNDS * PAGES


def test_freed_memory_is_given_back_at_the_end() -> None:
    with freed_memory_kept():
        torch.ones(2**22)
        within = resident_pages()
    assert resident_pages() < within - 0.9 * PAGES
