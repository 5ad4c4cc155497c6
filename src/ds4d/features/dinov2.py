"""DINOv2, the frozen network whose patch tokens are the paper's frame features."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ds4d.core import check_ranges, installed_version
from ds4d.weights import (
    MODELS,
    Part,
    PretrainedModel,
    find_model,
    load_part,
    read_settings,
    read_shapes,
    require_model,
    weights_digest,
    weights_file,
)

# Any DINOv2, of any size, with or without registers.
_ANY = replace(
    MODELS["dinov2-small"],
    title="DINOv2",
    parts=(replace(MODELS["dinov2-small"].part(""), expected={"model_type": ("dinov2", "dinov2_with_registers")}),),
)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the network was trained on


@dataclass(frozen=True)
class Dinov2Config:
    """The DINOv2 network and the resolution of its feature maps.

    Attributes:
        model: folder with config.json and model.safetensors, or name on the Hugging Face hub, which is searched for in
            $DS4D_WEIGHTS and the hub's cache; nothing is downloaded. ViT-S, B or L, with or without registers.
        tokens: number of patches along the longer side of an image, which is resized to fit.
        batch_size: number of images in one pass through the network.
        half: use half precision on a GPU.
    """

    model: str = "facebook/dinov2-small"
    tokens: int = 32
    batch_size: int = 8
    half: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, tokens="[1, 256]", batch_size="[1, inf)")


class Dinov2(nn.Module):
    """The patch tokens of a frozen DINOv2 as a feature map.

    Its stride is the side of a patch, in pixels of the resized image.

    Args:
        config: network and resolution.

    Raises:
        ImportError: transformers is not installed.
        ValueError: the weights are missing, damaged, or those of another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.config, self.batch_size = config, config.batch_size
        self.model = model = _load(config.model)
        self.channels: int = model.config.hidden_size
        self.stride: int = model.config.patch_size
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    @staticmethod
    def is_usable(config: Dinov2Config, device: torch.device) -> tuple[bool, str]:
        """With its weights, its package and a GPU."""
        if find_model(*dinov2_weights(config)) is None:
            return False, "weights of dinov2 not found, see ds4d weights"
        if installed_version("transformers") is None:
            return False, "dinov2 needs transformers"
        if device.type == "cpu":
            return False, "dinov2 is slow on a CPU, use --features dinov2 to run it anyway"
        return True, "weights found"

    @staticmethod
    def weights_digest(config: Dinov2Config) -> str:
        """Hash of the network's two files, which identifies it without loading it.

        Raises:
            ValueError: the weights are missing.
        """
        known, given = _known(config.model)
        return weights_digest(known, require_model(known, given))

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """Computes one feature vector per patch of the resized images.

        Args:
            images: colors in [0, 1], over a plain background.

        Returns:
            Feature maps with `tokens` cells along the longer side.
        """
        batch = images.shape[:-3]
        maps = [self._maps(part) for part in images.reshape(-1, *images.shape[-3:]).split(self.batch_size)]
        return torch.cat(maps).reshape(*batch, *maps[0].shape[1:])

    def _maps(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        longer = max(images.shape[-2:])
        h, w = (max(1, round(self.config.tokens * size / longer)) for size in images.shape[-2:])
        size = (h * self.stride, w * self.stride)
        resized = interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)
        pixels = (resized.clamp(0, 1) - self.mean) / self.std
        with torch.autocast(images.device.type, torch.half, enabled=self.config.half and images.device.type == "cuda"):
            tokens = self.model(pixel_values=pixels).last_hidden_state
        patches = tokens[:, tokens.shape[1] - h * w :]  # the class token and the registers come first
        return patches.float().transpose(1, 2).unflatten(2, (h, w))


def dinov2_weights(config: Dinov2Config) -> tuple[PretrainedModel, Path | None]:
    """The model that the settings name, and its folder if they name one; the arguments of `find_model`."""
    return _known(config.model)


def _known(model: str) -> tuple[PretrainedModel, Path | None]:
    """The model that a setting names: one of `MODELS` or of the hub, or any DINOv2 in a folder."""
    folder = Path(model).expanduser()
    if folder.exists() or re.fullmatch(r"[\w-]+/[\w.-]+", model) is None:
        return _ANY, folder
    known = (entry for entry in MODELS.values() if entry.source == model)
    return next(known, replace(_ANY, name=model, title=model, source=model)), None


def _load(model: str) -> Any:
    known, given = _known(model)
    path = require_model(known, given)
    part = known.part("")
    _check_width(part, path)
    return load_part(part, path)


def _check_width(part: Part, path: Path) -> None:
    """Refuses weights whose width is not that of config.json."""
    weights_path, settings_path = weights_file(part, path), path / "config.json"
    if weights_path is None or weights_path.suffix != ".safetensors":
        return
    shapes = read_shapes(weights_path)
    widths = [shape[-1] for name, shape in shapes.items() if name.endswith("embeddings.cls_token")]
    wanted = read_settings(settings_path).get("hidden_size")
    if widths != [wanted]:
        got = f"{widths[0]} in {weights_path}" if widths else f"no class token in {weights_path}"
        raise ValueError(
            f"hidden_size of {settings_path} must be that of the weights, got {wanted} and {got}. "
            "Download both files from the same source."
        )
