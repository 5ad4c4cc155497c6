"""The one choice of a device."""

import warnings

import pytest
import torch

from ds4d.core import choose_device


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
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_device(name).type == kind


def test_a_gpu_that_lies_idle_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True, gsplat=False)
    with pytest.warns(UserWarning, match=r"working on the CPU\. Install it with: pip install 'ds4d\[cuda\]'"):
        assert choose_device("auto").type == "cpu"


def test_cuda_asked_for_and_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, gsplat=True)
    with pytest.raises(ValueError, match="device must be cpu or auto here, got cuda: torch finds no CUDA device"):
        choose_device("cuda")
