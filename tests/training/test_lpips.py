"""LPIPS as a training loss: used if its weights are found, off with a warning otherwise."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notices_to
from ds4d.losses import Term
from ds4d.metrics import Lpips
from ds4d.metrics.lpips import VGG16
from ds4d.pipeline import prepare
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")
Weights = tuple[dict[str, Tensor], dict[str, Tensor]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights, and an empty hub cache."""
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def weights(root: Path, lpips_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with VGG16 and the LPIPS heads."""
    monkeypatch.setattr("ds4d.metrics.lpips.NETWORK", VGG16)
    for name, file, tensors in zip(("vgg16", "lpips-vgg"), ("model", "vgg"), lpips_weights, strict=True):
        (root / name).mkdir()
        save_file(tensors, root / name / f"{file}.safetensors")
    return root


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    """Full resolution from the start."""
    losses = replace(quick_config.training.losses, lpips=Term(0.5, "generated"))
    return replace(quick_config, training=replace(quick_config.training, losses=losses, low_resolution_fraction=0.0))


def test_lpips_is_used_if_its_weights_are_found(
    weights: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    trainer = prepare(quick_video, config, CPU)
    step = next(trainer.run())
    losses = config.training.losses
    assert list(step.terms) == ["l1", "ssim", "mask", "lpips"] and step.terms["lpips"] > 0.01
    total = sum(getattr(losses, name).weight * value for name, value in step.terms.items())
    assert step.loss == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("absent", ["vgg16", "lpips-vgg"])
def test_without_weights_lpips_is_off_with_one_notice(
    weights: Path,
    quick_video: MultiViewVideo,
    config: GenerateConfig,
    absent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    next((weights / absent).iterdir()).unlink()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torchmetrics" else find_spec(name))
    with notices_to((notices := []).append):
        trainer = prepare(quick_video, config, CPU)
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "lpips")]
    off = replace(config, training=replace(config.training, losses=replace(config.training.losses, lpips=Term())))
    assert next(trainer.run()).terms == next(prepare(quick_video, off, CPU).run()).terms


def test_heads_of_torchmetrics_are_used(root: Path, lpips_weights: Weights) -> None:
    pytest.importorskip("torchmetrics", reason="needs torchmetrics (pip install '.[eval]')")
    backbone, heads = lpips_weights
    (root / "vgg16").mkdir()
    torch.save(backbone, root / "vgg16" / "vgg16-397923af.pth")  # as torchvision's file is called
    network = Lpips.if_available()
    assert network is not None
    assert torch.equal(network.head4, heads["lin4.model.1.weight"])
    assert torch.equal(network.features[28].weight, backbone["features.28.weight"])


def test_images_too_small_for_lpips_are_refused(
    weights: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    small = replace(quick_video, frames=Small(quick_video.frames))
    with pytest.raises(ValueError, match="32 pixels"):
        prepare(small, config, CPU)
    off = replace(config, training=replace(config.training, losses=replace(config.training.losses, lpips=Term())))
    prepare(replace(small, cameras=small.cameras.resized(31, 31)), off, CPU)


class Small:
    """The top left part of a video's images."""

    def __init__(self, frames) -> None:
        self.frames, self.width, self.height = frames, 31, 31
        self.num_times, self.num_views = frames.num_times, frames.num_views

    def read(self, time: int, view: int):
        return self.frames.read(time, view)[:31, :31]


def test_a_stand_in_needs_no_weights(
    root: Path, quick_video: MultiViewVideo, config: GenerateConfig, lpips_weights: Weights
) -> None:
    """Its network is the one that the stored values of torchmetrics were made with."""
    stand_in = Lpips.stand_in()
    for name, weight in lpips_weights[0].items():
        assert torch.equal(stand_in.state_dict()[name], weight), name
    narrow = Lpips.stand_in(4)
    same, other = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    assert narrow(same, same).item() == 0 and narrow(same, other).item() > 0.1
    sizes = [sum(parameter.numel() for parameter in network.features.parameters()) for network in (narrow, stand_in)]
    assert 0 < 200 * sizes[0] < sizes[1]
    notices: list = []
    training = replace(config.training, lpips_stand_in=True, lpips_stand_in_channels=4)
    with notices_to(notices.append):
        trainer = prepare(quick_video, replace(config, training=training), CPU)
    step = next(trainer.run())
    assert step.terms["lpips"] > 1e-3 and not notices
