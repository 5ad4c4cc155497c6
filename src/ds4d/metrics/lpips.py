"""Learned perceptual image distance (LPIPS, Zhang et al. 2018), differentiable.

`NETWORK` chooses the convolutional network. To change it, describe another one as a `Backbone` here, and list its
weights and the heads fitted to it in `ds4d.weights.models`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ds4d.weights import MODELS, find_model, read_tensors, weights_file

# LPIPS's own shift and scale are those of ImageNet, stated for colors in [-1, 1]; here they are in [0, 1].
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-8


@dataclass(frozen=True)
class Backbone:
    """A convolutional network whose activations LPIPS compares.

    Attributes:
        weights: key of its weights in `ds4d.weights.MODELS`.
        heads: key of the LPIPS heads fitted to it in `ds4d.weights.MODELS`.
        build: makes its layers, numbered as torchvision numbers those of the network's `features`.
        compared: numbers of the layers whose outputs are compared.
        channels: number of channels of each compared output.
        min_side: smallest image width and height, pixels; smaller images are pooled to nothing.
    """

    weights: str
    heads: str
    build: Callable[[], nn.Sequential]
    compared: tuple[int, ...]
    channels: tuple[int, ...]
    min_side: int


def _vgg16(first: int = 64) -> nn.Sequential:
    """VGG16 (Simonyan and Zisserman 2015) up to its last convolution, if 64 channels come first."""
    layers: list[nn.Module] = []
    channels = 3
    for width, count in ((first, 2), (2 * first, 2), (4 * first, 3), (8 * first, 3), (8 * first, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


VGG16 = Backbone(
    weights="vgg16",
    heads="lpips-vgg",
    build=_vgg16,
    compared=(3, 8, 15, 22, 29),
    channels=(64, 128, 256, 512, 512),
    min_side=16,
)

NETWORK = VGG16


class Lpips(nn.Module):
    """Distance of images in the activations of a frozen network, weighted by heads fitted to human judgments.

    The sum over the compared layers of the mean over pixels of w . (f / |f| - g / |g|)^2, with f and g the layer's
    activations of the two images and w >= 0 the layer's head (Zhang et al. 2018, Eq. 1).

    Args:
        backbone: weights of the network by torchvision's names (`features.0.weight`, ...), with or without
            `features.`; further entries are ignored.
        heads: one weight per channel and compared layer, `lin0.model.1.weight` and so on.
        network: description of the network.

    Raises:
        ValueError: a weight is missing or has another shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor], network: Backbone = NETWORK
    ) -> None:
        super().__init__()
        self.network = network
        self.features = network.build()
        _load(self.features, network.weights, {name.removeprefix("features."): w for name, w in backbone.items()})
        for index, channels in enumerate(network.channels):
            self.register_buffer(f"head{index}", _head(heads, index, channels), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    @staticmethod
    def is_available() -> bool:
        """Whether `ds4d weights` finds the weights of the network and of its heads."""
        return all(find_model(MODELS[name]) for name in (NETWORK.weights, NETWORK.heads))

    @staticmethod
    def if_available() -> "Lpips | None":
        """LPIPS with the weights that `ds4d weights` lists; None if those of the network or of its heads are missing.

        Raises:
            ValueError: a weights file cannot be read, or belongs to another network.
        """
        files = []
        for model in (MODELS[NETWORK.weights], MODELS[NETWORK.heads]):
            folder = find_model(model)
            file = weights_file(model.parts[0], folder) if folder else None
            if file is None:
                return None
            files.append(file)
        backbone, heads = map(read_tensors, files)
        return Lpips(backbone, heads, NETWORK)

    @staticmethod
    def stand_in(channels: int = 64) -> "Lpips":
        """A perceptual distance without weights: VGG16 with random ones, the same on every machine, and equal heads.

        Its values are not those of LPIPS, and nothing was fitted to human judgments; it is less sensitive to small
        shifts than differences of pixels are.

        Args:
            channels: number of channels of its first layers, at least 1; fewer than VGG16's 64, in all layers in
                proportion, are faster.
        """
        widths = tuple(width * channels // 64 for width in VGG16.channels)
        network = replace(VGG16, build=partial(_vgg16, channels), channels=widths)
        heads = {
            f"lin{index}.model.1.weight": torch.full((1, width, 1, 1), 1 / len(widths))
            for index, width in enumerate(widths)
        }
        return Lpips(_random_weights(network), heads, network)

    def forward(self, images: Float[Tensor, "B 3 H W"], targets: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        """One distance per image, 0 for equal ones.

        Args:
            images: colors in [0, 1], at least `network.min_side` pixels wide and high.
            targets: colors in [0, 1] to compare with; they get no gradient.

        Raises:
            ValueError: the images are smaller.
        """
        least = self.network.min_side
        if min(images.shape[-2:]) < least:
            raise ValueError(
                f"lpips: images must be at least {least} pixels wide and high, got {images.shape[-1]} x "
                f"{images.shape[-2]}. Use larger ones."
            )
        with torch.no_grad():
            target_activations = self._unit_activations(targets)
        distance = images.new_zeros(len(images))
        for index, (ours, theirs) in enumerate(zip(self._unit_activations(images), target_activations, strict=True)):
            weighted = conv2d((ours - theirs).square(), getattr(self, f"head{index}"))
            distance = distance + weighted.mean(dim=(1, 2, 3))
        return distance

    def _unit_activations(self, images: Tensor) -> list[Tensor]:
        """The compared layers' outputs [B, C, h, w], scaled to length 1 at every pixel."""
        compared = []
        maps = (images - self.mean) / self.std
        for number, layer in enumerate(self.features):
            maps = layer(maps)
            if number in self.network.compared:
                compared.append(maps * (maps.square().sum(1, keepdim=True) + _EPS).rsqrt())
        return compared


def _random_weights(network: Backbone) -> dict[str, Tensor]:
    """Uniform weights up to sqrt(6 / fan in), which keep the scale of activations, and biases up to 0.1."""
    stream = np.random.PCG64(0)  # its raw numbers are guaranteed to stay the same

    def uniform(parameter: Tensor, size: float) -> Tensor:
        numbers = stream.random_raw(parameter.numel()) >> 40  # 24 bits: exact in single precision
        return torch.from_numpy(numbers.astype(np.float32) / 2**23 - 1).reshape(parameter.shape) * size

    with torch.device("meta"):  # the shapes alone
        shapes = network.build().state_dict()
    return {
        name: uniform(value, (6 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.1) for name, value in shapes.items()
    }


def _load(features: nn.Sequential, name: str, weights: dict[str, Tensor]) -> None:
    expected = features.state_dict()
    try:
        features.load_state_dict({key: weights[key] for key in expected})
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"LPIPS's backbone must hold the weights of {name} by torchvision's names, got others ({error}). "
            f"Use the file that `ds4d weights` lists as {name}."
        ) from error


def _head(heads: Mapping[str, Tensor], index: int, channels: int) -> Tensor:
    name = f"lin{index}.model.1.weight"  # the same in every copy of the file
    shape = list(heads[name].shape) if name in heads else "none"
    if shape != [1, channels, 1, 1]:
        raise ValueError(
            f"LPIPS's heads must hold {name} of shape {[1, channels, 1, 1]}, got {shape}. "
            "Use the file of version 0.1 for this network."
        )
    return heads[name].float()
