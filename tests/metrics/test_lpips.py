"""The perceptual distance: what it is blind to, what it sees, and the files it refuses."""

import pytest
import torch
from torch import Tensor

from ds4d.metrics import Lpips


@pytest.fixture
def batch(generator: torch.Generator) -> Tensor:
    """Two smooth batch."""
    coarse = torch.rand(2, 3, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)


def test_equal_images_are_no_distance_apart(lpips: Lpips, batch: Tensor) -> None:
    assert lpips(batch, batch).tolist() == [0, 0]


def test_images_are_compared_each_with_its_own(lpips: Lpips, batch: Tensor) -> None:
    other = batch.flip(0)
    both = lpips(batch, other)
    alone = torch.cat([lpips(batch[i : i + 1], other[i : i + 1]) for i in range(2)])
    assert both.shape == (2,) and (both > 0.01).all()
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(both[0], both[1])  # the distance is the same both ways


def test_only_the_image_is_pulled_and_the_network_stays(lpips: Lpips, batch: Tensor) -> None:
    images, targets = batch.clone().requires_grad_(), batch.flip(0).clone().requires_grad_()
    lpips(images, targets).sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert targets.grad is None
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_a_step_along_the_gradient_brings_images_nearer(lpips: Lpips, batch: Tensor) -> None:
    images, targets = batch.clone().requires_grad_(), batch.flip(0)
    before = lpips(images, targets)
    (gradient,) = torch.autograd.grad(before.sum(), images)
    after = lpips(images - 0.05 * gradient / gradient.abs().max(), targets)
    assert (after < before).all()


@pytest.mark.parametrize(("size", "fits"), [((16, 16), True), ((16, 15), False), ((15, 40), False)])
def test_images_that_would_be_halved_to_nothing_are_refused(lpips: Lpips, size: tuple[int, int], fits: bool) -> None:
    image = torch.zeros(1, 3, *size)
    if fits:
        assert lpips(image, image).tolist() == [0]
    else:
        with pytest.raises(ValueError, match="lpips: batch must be at least 16 pixels high and wide, got"):
            lpips(image, image)


def test_files_without_the_first_part_of_the_names_are_welcome(
    lpips: Lpips, batch: Tensor, lpips_weights: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> None:
    backbone, heads = lpips_weights
    bare = {name.removeprefix("features."): value for name, value in backbone.items()}
    other = Lpips({**bare, "classifier.0.weight": torch.zeros(1)}, heads)
    assert torch.equal(other(batch, batch.flip(0)), lpips(batch, batch.flip(0)))


def test_weights_of_another_network_are_refused(lpips_weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    backbone, heads = lpips_weights
    with pytest.raises(ValueError, match=r"LPIPS' backbone must hold VGG16's weights .* got others \('28.bias'\)"):
        Lpips({name: value for name, value in backbone.items() if name != "features.28.bias"}, heads)
    with pytest.raises(ValueError, match=r"(?s)LPIPS' backbone must hold VGG16's weights .*size mismatch"):
        Lpips({**backbone, "features.0.weight": torch.zeros(64, 3, 11, 11)}, heads)
    with pytest.raises(ValueError, match=r"heads must hold lin4\.model\.1\.weight of shape \[1, 512, 1, 1\], got none"):
        Lpips(backbone, {name: value for name, value in heads.items() if "lin4" not in name})
    with pytest.raises(ValueError, match=r"lin1\.model\.1\.weight of shape \[1, 128, 1, 1\], got \[1, 192, 1, 1\]"):
        Lpips(backbone, {**heads, "lin1.model.1.weight": torch.zeros(1, 192, 1, 1)})
