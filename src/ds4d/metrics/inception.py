"""InceptionV3 as FID uses it (`pt_inception-2015-12-05-6726825d.pth`): 2048 pooled features per image.

The port of TensorFlow's network of 2015 that torch-fidelity and torchmetrics use: like torchvision's, but average
pooling leaves padding out, and the last module pools by maximum.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

_SIDE = 299  # pixels

# Channels in, channels out, kernel, stride, padding of each convolution.
Size = tuple[int, int, int | tuple[int, int], int, int | tuple[int, int]]
_STEM: dict[str, Size] = {
    "Conv2d_1a_3x3": (3, 32, 3, 2, 0),
    "Conv2d_2a_3x3": (32, 32, 3, 1, 0),
    "Conv2d_2b_3x3": (32, 64, 3, 1, 1),
    "Conv2d_3b_1x1": (64, 80, 1, 1, 0),
    "Conv2d_4a_3x3": (80, 192, 3, 1, 0),
}


def _row(channels_in: int, channels_out: int, width: int) -> Size:
    return channels_in, channels_out, (1, width), 1, (0, width // 2)


def _column(channels_in: int, channels_out: int, height: int) -> Size:
    return channels_in, channels_out, (height, 1), 1, (height // 2, 0)


def _module_a(channels: int, pooled: int) -> dict[str, Size]:
    return {
        "branch1x1": (channels, 64, 1, 1, 0),
        "branch5x5_1": (channels, 48, 1, 1, 0),
        "branch5x5_2": (48, 64, 5, 1, 2),
        "branch3x3dbl_1": (channels, 64, 1, 1, 0),
        "branch3x3dbl_2": (64, 96, 3, 1, 1),
        "branch3x3dbl_3": (96, 96, 3, 1, 1),
        "branch_pool": (channels, pooled, 1, 1, 0),
    }


def _module_c(width: int) -> dict[str, Size]:
    return {
        "branch1x1": (768, 192, 1, 1, 0),
        "branch7x7_1": (768, width, 1, 1, 0),
        "branch7x7_2": _row(width, width, 7),
        "branch7x7_3": _column(width, 192, 7),
        "branch7x7dbl_1": (768, width, 1, 1, 0),
        "branch7x7dbl_2": _column(width, width, 7),
        "branch7x7dbl_3": _row(width, width, 7),
        "branch7x7dbl_4": _column(width, width, 7),
        "branch7x7dbl_5": _row(width, 192, 7),
        "branch_pool": (768, 192, 1, 1, 0),
    }


def _module_e(channels: int) -> dict[str, Size]:
    return {
        "branch1x1": (channels, 320, 1, 1, 0),
        "branch3x3_1": (channels, 384, 1, 1, 0),
        "branch3x3_2a": _row(384, 384, 3),
        "branch3x3_2b": _column(384, 384, 3),
        "branch3x3dbl_1": (channels, 448, 1, 1, 0),
        "branch3x3dbl_2": (448, 384, 3, 1, 1),
        "branch3x3dbl_3a": _row(384, 384, 3),
        "branch3x3dbl_3b": _column(384, 384, 3),
        "branch_pool": (channels, 192, 1, 1, 0),
    }


_MODULES: dict[str, dict[str, Size]] = {
    "Mixed_5b": _module_a(192, 32),
    "Mixed_5c": _module_a(256, 64),
    "Mixed_5d": _module_a(288, 64),
    "Mixed_6a": {
        "branch3x3": (288, 384, 3, 2, 0),
        "branch3x3dbl_1": (288, 64, 1, 1, 0),
        "branch3x3dbl_2": (64, 96, 3, 1, 1),
        "branch3x3dbl_3": (96, 96, 3, 2, 0),
    },
    "Mixed_6b": _module_c(128),
    "Mixed_6c": _module_c(160),
    "Mixed_6d": _module_c(160),
    "Mixed_6e": _module_c(192),
    "Mixed_7a": {
        "branch3x3_1": (768, 192, 1, 1, 0),
        "branch3x3_2": (192, 320, 3, 2, 0),
        "branch7x7x3_1": (768, 192, 1, 1, 0),
        "branch7x7x3_2": _row(192, 192, 7),
        "branch7x7x3_3": _column(192, 192, 7),
        "branch7x7x3_4": (192, 192, 3, 2, 0),
    },
    "Mixed_7b": _module_e(1280),
    "Mixed_7c": _module_e(2048),
}


class FidInception(nn.Module):
    """InceptionV3 of FID without its classifier.

    Args:
        weights: tensors by name, as in the file; the classifier and `num_batches_tracked` are not needed.

    Raises:
        ValueError: a weight is missing or has another shape.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, size in _STEM.items():
            self.add_module(name, _Convolution(size))
        for name, branches in _MODULES.items():
            self.add_module(name, nn.ModuleDict({branch: _Convolution(size) for branch, size in branches.items()}))
        expected = {name for name in self.state_dict() if not name.endswith("num_batches_tracked")}
        try:
            self.load_state_dict({name: weights[name] for name in expected}, strict=False)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"the Inception network must have the weights of pt_inception-2015-12-05, got others "
                f"({str(error)[:120]}). Use the file that `ds4d weights` lists as inception-fid."
            ) from error
        self.eval().requires_grad_(False)

    def forward(self, images: UInt8[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        """Features of 8-bit images, resized as torchmetrics does (bilinear with antialiasing)."""
        maps = F.interpolate(images.float(), (_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)
        maps = (maps - 128) / 128
        for name in _STEM:
            maps = getattr(self, name)(maps)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                maps = F.max_pool2d(maps, 3, 2)
        for name in _MODULES:
            maps = _mixed(name, getattr(self, name), maps)
        return maps.mean(dim=(2, 3))


def inception_images(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[Tensor, "T 3 H W"]:
    """Frames as `FidInception` takes them."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


class _Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        channels_in, channels_out, kernel, stride, padding = size
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(maps)))


def _mixed(name: str, branches: nn.ModuleDict, maps: Tensor) -> Tensor:
    def run(*names: str) -> Tensor:
        out = maps
        for each in names:
            out = branches[each](out)
        return out

    def fork(trunk: Tensor, name: str) -> Tensor:
        return torch.cat([branches[f"{name}{side}"](trunk) for side in "ab"], 1)

    if name in ("Mixed_6a", "Mixed_7a"):
        pooled = F.max_pool2d(maps, 3, 2)
        if name == "Mixed_6a":
            parts = [run("branch3x3"), run("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")]
        else:
            parts = [
                run("branch3x3_1", "branch3x3_2"),
                run("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"),
            ]
        return torch.cat([*parts, pooled], 1)
    is_last = name == "Mixed_7c"
    pooled = F.max_pool2d(maps, 3, 1, 1) if is_last else F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    parts = [run("branch1x1")]
    if "branch5x5_1" in branches:
        parts += [
            run("branch5x5_1", "branch5x5_2"),
            run("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        ]
    elif "branch7x7_1" in branches:
        parts += [
            run("branch7x7_1", "branch7x7_2", "branch7x7_3"),
            run(*(f"branch7x7dbl_{i}" for i in range(1, 6))),
        ]
    else:
        parts += [
            fork(run("branch3x3_1"), "branch3x3_2"),
            fork(run("branch3x3dbl_1", "branch3x3dbl_2"), "branch3x3dbl_3"),
        ]
    return torch.cat([*parts, branches["branch_pool"](pooled)], 1)
