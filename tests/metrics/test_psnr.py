import pytest
import torch

from ds4d.metrics import psnr


def test_known_values():
    targets = torch.zeros(2, 3, 4, 5)
    images = torch.stack((torch.full((3, 4, 5), 0.1), torch.full((3, 4, 5), 0.5)))
    assert psnr(images, targets) == pytest.approx([20.0, 6.0206], abs=1e-4)


def test_equal_images_count_60_db():
    image = torch.rand(3, 8, 8)
    assert psnr(image, image).item() == pytest.approx(60.0)
