"""The one choice of a device."""

import pytest
import torch

from ds4d.core import Degraded, choose_device, describe_device, notices_to


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, gsplat: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if gsplat else None)


@pytest.mark.parametrize(
    ("name", "cuda", "gsplat", "kind"),
    [
        ("auto", True, True, "cuda"),
        ("auto", False, True, "cpu"),
        ("cuda", True, True, "cuda"),
        ("cuda", True, False, "cuda"),  # the splatter then says what to install
        ("cpu", True, True, "cpu"),
    ],
)
def test_the_device_follows_what_is_asked_for_and_there(
    monkeypatch: pytest.MonkeyPatch, name: str, cuda: bool, gsplat: bool, kind: str
) -> None:
    pretend(monkeypatch, cuda=cuda, gsplat=gsplat)
    with notices_to((notices := []).append):
        assert choose_device(name).type == kind
    assert notices == []


def test_a_gpu_that_lies_idle_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True, gsplat=False)
    with notices_to((notices := []).append):
        assert choose_device("auto").type == "cpu"
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "device")]


def test_cuda_asked_for_and_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, gsplat=True)
    with pytest.raises(ValueError, match="device must be cpu or auto here, got cuda: torch finds no CUDA device"):
        choose_device("cuda")


def test_a_cpu_is_described_by_its_threads() -> None:
    assert describe_device(torch.device("cpu")) == f"cpu, {torch.get_num_threads()} threads"
