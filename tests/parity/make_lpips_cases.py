"""Writes lpips_cases.safetensors: torchmetrics' LPIPS of a few pairs of images, layer by layer, and its gradient.

Needs torchmetrics 1.9 and uses nothing of ds4d, so that the cases are independent:
    python tests/parity/make_lpips_cases.py
The backbone is VGG16 with the random weights of `backbone`, the same on every machine; the heads are the fitted ones
that torchmetrics ships. Heads, images and results are stored.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

OUT = Path(__file__).with_name("lpips_cases.safetensors")
# torchvision's VGG16 up to the last convolution: number of the module, channels in, channels out.
CONVOLUTIONS = (
    (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256),
    (17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512),
)  # fmt: skip
POOLS = (4, 9, 16, 23, 30)


def backbone() -> dict[str, Tensor]:
    """Uniform weights up to sqrt(6 / fan in), which keep the scale of activations, by torchvision's names."""
    stream = np.random.PCG64(0)  # its raw numbers are guaranteed to stay the same

    def uniform(*shape: int, size: float) -> Tensor:
        numbers = stream.random_raw(int(np.prod(shape))) >> 40  # 24 bits: exact in single precision
        return torch.from_numpy(numbers.astype(np.float32) / 2**23 - 1).reshape(shape) * size

    weights = {}
    for number, channels_in, channels_out in CONVOLUTIONS:
        size = (6 / (9 * channels_in)) ** 0.5
        weights[f"features.{number}.weight"] = uniform(channels_out, channels_in, 3, 3, size=size)
        weights[f"features.{number}.bias"] = uniform(channels_out, size=0.1)
    return weights


def features() -> nn.Sequential:
    """The network itself, as torchvision would return it."""
    convolutions = {number: sizes for number, *sizes in CONVOLUTIONS}
    modules: list[nn.Module] = []
    for number in range(31):
        if number in convolutions:
            modules.append(nn.Conv2d(*convolutions[number], 3, padding=1))
        else:
            modules.append(nn.MaxPool2d(2, 2) if number in POOLS else nn.ReLU())
    network = nn.Sequential(*modules)
    network.load_state_dict({name.removeprefix("features."): value for name, value in backbone().items()})
    return network


def main() -> None:
    """Makes the cases and writes them beside this file."""
    from torchmetrics import __version__
    from torchmetrics.functional.image import lpips

    lpips._get_tv_model_features = lambda net, pretrained: features()
    network = lpips._LPIPS(pretrained=True, net="vgg", pnet_rand=True)
    torch.manual_seed(0)
    shapes = torch.rand(3, 3, 5, 6)
    images = torch.nn.functional.interpolate(shapes, size=(37, 50), mode="bicubic").clamp(0, 1)
    targets = (images + 0.2 * torch.rand_like(images) - 0.1).clamp(0, 1)
    targets[2] = torch.rand(3, 37, 50)
    images, targets = images.half(), targets.half()  # exact in the file at half the size
    leaf = images.float().requires_grad_()
    values, layers = network(leaf, targets.float(), retperlayer=True, normalize=True)
    values.sum().backward()
    tensors = {
        "images": images,
        "targets": targets,
        "values": values.detach().flatten(),
        "layers": torch.stack([layer.detach().flatten() for layer in layers]),
        "gradient": leaf.grad,
        **{f"heads.lin{i}.model.1.weight": head.model[-1].weight for i, head in enumerate(network.lins)},
    }
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(contiguous, OUT, metadata={"torchmetrics": __version__, "torch": torch.__version__})


if __name__ == "__main__":
    main()
