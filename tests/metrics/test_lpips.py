"""LPIPS: equality, gradients, and refused sizes and weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ds4d.metrics import Lpips
from ds4d.metrics.lpips import VGG16, Backbone


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    """Two smooth images."""
    coarse = torch.rand(2, 3, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)


def test_equal_images_have_distance_0(lpips: Lpips, images: Tensor) -> None:
    assert lpips(images, images).tolist() == [0, 0]


def test_each_image_has_its_own_distance(lpips: Lpips, images: Tensor) -> None:
    other = images.flip(0)
    both = lpips(images, other)
    alone = torch.cat([lpips(images[i : i + 1], other[i : i + 1]) for i in range(2)])
    assert both.shape == (2,) and (both > 0.01).all()
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(both[0], both[1])  # symmetric


def test_only_images_get_gradients(lpips: Lpips, images: Tensor) -> None:
    images, targets = images.clone().requires_grad_(), images.flip(0).clone().requires_grad_()
    lpips(images, targets).sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert targets.grad is None
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_a_gradient_step_reduces_the_distance(lpips: Lpips, images: Tensor) -> None:
    images, targets = images.clone().requires_grad_(), images.flip(0)
    before = lpips(images, targets)
    (gradient,) = torch.autograd.grad(before.sum(), images)
    after = lpips(images - 0.05 * gradient / gradient.abs().max(), targets)
    assert (after < before).all()


@pytest.mark.parametrize(("size", "fits"), [((16, 16), True), ((16, 15), False), ((15, 40), False)])
def test_images_too_small_to_pool_are_refused(lpips: Lpips, size: tuple[int, int], fits: bool) -> None:
    image = torch.zeros(1, 3, *size)
    if fits:
        assert lpips(image, image).tolist() == [0]
    else:
        with pytest.raises(ValueError, match="at least 16 pixels"):
            lpips(image, image)


def test_names_without_the_prefix_are_read(
    lpips: Lpips, images: Tensor, lpips_weights: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> None:
    backbone, heads = lpips_weights
    bare = {name.removeprefix("features."): value for name, value in backbone.items()}
    other = Lpips({**bare, "classifier.0.weight": torch.zeros(1)}, heads, VGG16)
    assert torch.equal(other(images, images.flip(0)), lpips(images, images.flip(0)))


def test_weights_of_another_network_are_refused(lpips_weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    backbone, heads = lpips_weights
    with pytest.raises(ValueError, match=r"backbone.*28\.bias"):
        Lpips({name: value for name, value in backbone.items() if name != "features.28.bias"}, heads, VGG16)
    with pytest.raises(ValueError, match=r"(?s)backbone.*size mismatch"):
        Lpips({**backbone, "features.0.weight": torch.zeros(64, 3, 11, 11)}, heads, VGG16)
    with pytest.raises(ValueError, match=r"heads.*lin4\.model\.1\.weight .*got none"):
        Lpips(backbone, {name: value for name, value in heads.items() if "lin4" not in name}, VGG16)
    with pytest.raises(ValueError, match=r"heads.*lin1\.model\.1\.weight .*got \[1, 192, 1, 1\]"):
        Lpips(backbone, {**heads, "lin1.model.1.weight": torch.zeros(1, 192, 1, 1)}, VGG16)


def test_another_network_is_its_description() -> None:
    """One 1 x 1 convolution with the identity as its weights: the distance of the colors' directions."""
    network = replace(VGG16, build=lambda: nn.Sequential(nn.Conv2d(3, 3, 1)), compared=(0,), channels=(3,), min_side=1)
    assert isinstance(network, Backbone)
    weights = {"features.0.weight": torch.eye(3)[..., None, None], "features.0.bias": torch.zeros(3)}
    lpips = Lpips(weights, {"lin0.model.1.weight": torch.ones(1, 3, 1, 1)}, network)
    images, targets = torch.rand(2, 1, 3, 5, 4)
    ours, theirs = (nn.functional.normalize((x - lpips.mean) / lpips.std, dim=1) for x in (images, targets))
    torch.testing.assert_close(lpips(images, targets), (ours - theirs).square().sum(1).mean()[None])
