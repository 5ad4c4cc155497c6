"""Which parts run fused: those that are on, where Triton works, on tensors that it takes."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from ds4d.core import FUSED_PARTS, Degraded, fused_parts, has_triton, is_fused, notices_to, parts_on


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    has_triton.cache_clear()
    yield
    has_triton.cache_clear()


def test_a_block_turns_parts_on_and_back() -> None:
    before = parts_on()
    with fused_parts("heads"):
        with fused_parts(*FUSED_PARTS):
            assert parts_on() == set(FUSED_PARTS)
        assert parts_on() == {"heads"}
    assert parts_on() == before


def test_a_part_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="heds"), fused_parts("heds"):
        pass


def test_without_triton_the_tensor_form_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds4d.core.fused.importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # which takes tensors of the CPU
    with fused_parts(*FUSED_PARTS):
        assert not any(is_fused(part, torch.zeros(1)) for part in FUSED_PARTS)


def test_where_triton_cannot_compile_the_tensor_form_runs_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = ModuleType("triton.runtime")  # without a driver, as where there is no compiler to build it
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    monkeypatch.setitem(sys.modules, "triton.runtime", runtime)
    monkeypatch.setattr("ds4d.core.fused.importlib.util.find_spec", lambda name: runtime)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    notices = []
    with notices_to(notices.append):
        assert not has_triton()
        assert not has_triton()
    assert [type(notice) for notice in notices] == [Degraded]
