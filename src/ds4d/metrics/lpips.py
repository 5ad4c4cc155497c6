"""Learned perceptual distance of images (LPIPS, Zhang et al. 2018), differentiable."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ds4d.weights import MODELS, find_model, read_tensors, weights_file

# VGG16's convolutions by their output channels; between two rows the image is halved. The last activation of each
# row is compared.
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_LEAST_SIDE = 2 ** (len(_BLOCKS) - 1)  # pixels; smaller images are halved to nothing
_HEADS = [f"lin{layer}.model.1.weight" for layer in range(len(_BLOCKS))]  # as every copy of the file calls them
# LPIPS' own shift and scale are those of ImageNet, stated for colors in [-1, 1]; here they are in [0, 1].
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-8


class Lpips(nn.Module):
    """Distance of images in the layers of a frozen VGG16, by heads that were fitted to what people find alike.

    The sum over five layers of the mean over places of w . (f / |f| - g / |g|)^2, with f and g what the layer shows of
    the two images and w >= 0 the layer's head (Zhang et al. 2018, Eq. 1).

    Args:
        backbone: VGG16's weights by torchvision's names, `features.0.weight` and so on, or without `features.`; what
            else is there is not read.
        heads: one weight per channel and layer, `lin0.model.1.weight` to `lin4.model.1.weight`.

    Raises:
        ValueError: a weight is missing or has another shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = _vgg16()
        _load(self.features, {name.removeprefix("features."): value for name, value in backbone.items()})
        for layer, (name, block) in enumerate(zip(_HEADS, _BLOCKS, strict=True)):
            self.register_buffer(f"head{layer}", _head(heads, name, block[-1]), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "B 3 H W"], targets: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        """One distance per image, 0 for equal ones.

        Args:
            images: colors in [0, 1], at least 16 pixels high and wide.
            targets: what they are compared with; no gradient reaches them.

        Raises:
            ValueError: the images are smaller.
        """
        if min(images.shape[-2:]) < _LEAST_SIDE:
            raise ValueError(
                f"lpips: images must be at least {_LEAST_SIDE} pixels high and wide, got {list(images.shape[-2:])}."
            )
        with torch.no_grad():
            wanted = self._directions(targets)
        distance = images.new_zeros(len(images))
        for layer, (ours, theirs) in enumerate(zip(self._directions(images), wanted, strict=True)):
            weighted = conv2d((ours - theirs).square(), getattr(self, f"head{layer}"))
            distance = distance + weighted.mean(dim=(1, 2, 3))
        return distance

    @staticmethod
    def if_available() -> "Lpips | None":
        """LPIPS with the weights that `ds4d weights` finds; None where there are none of the backbone or the heads.

        Raises:
            ValueError: a file that is there cannot be read, or holds another network.
        """
        files = []
        for model in (MODELS["vgg16"], MODELS["lpips-vgg"]):
            folder = find_model(model)
            file = weights_file(model.parts[0], folder) if folder else None
            if file is None:
                return None
            files.append(file)
        backbone, heads = map(read_tensors, files)
        return Lpips(backbone, heads)

    def _directions(self, images: Tensor) -> list[Tensor]:
        """What the five layers show, scaled to length 1 at every place."""
        shown = []
        maps = (images - self.mean) / self.std
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                shown.append(maps)
            maps = module(maps)
        return [each * (each.square().sum(1, keepdim=True) + _EPS).rsqrt() for each in (*shown, maps)]


def _vgg16() -> nn.Sequential:
    """VGG16 up to the last activation that is compared, with torchvision's numbers for its modules."""
    modules: list[nn.Module] = []
    channels = 3
    for block in _BLOCKS:
        if modules:
            modules.append(nn.MaxPool2d(2))
        for width in block:
            modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*modules)


def _load(features: nn.Sequential, weights: dict[str, Tensor]) -> None:
    wanted = features.state_dict()
    try:
        features.load_state_dict({name: weights[name] for name in wanted})
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"LPIPS' backbone must hold VGG16's weights by torchvision's names, got others ({error}). "
            "Give the file of vgg16, not of vgg16_bn or another network."
        ) from error


def _head(heads: Mapping[str, Tensor], name: str, channels: int) -> Tensor:
    shape = list(heads[name].shape) if name in heads else "none"
    if shape != [1, channels, 1, 1]:
        raise ValueError(
            f"LPIPS' heads must hold {name} of shape {[1, channels, 1, 1]}, got {shape}. "
            "Give the file of the heads for vgg, version 0.1."
        )
    return heads[name].float()
