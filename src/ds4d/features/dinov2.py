"""DINOv2: the frozen network whose tokens are the paper's frame features."""

import hashlib
import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ds4d.config import check_ranges

_CLASSES = {"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"}
_SETTINGS, _WEIGHTS = "config.json", "model.safetensors"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the network was trained on


@dataclass(frozen=True)
class Dinov2Config:
    """Which DINOv2 and how it looks at pictures.

    Attributes:
        model: folder with config.json and model.safetensors, or a name on the Hugging Face hub that its cache holds;
            nothing is ever downloaded. ViT-S, B or L, with or without registers.
        tokens: along the longer side of the picture, which is resized to that many patches.
        batch_size: pictures that pass through the network at a time.
        half: whether a GPU computes in half precision; the CPU never does.
    """

    model: str = "facebook/dinov2-small"
    tokens: int = 32
    batch_size: int = 8
    half: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, tokens="[1, 256]", batch_size="[1, inf)")


class Dinov2(nn.Module):
    """The patch tokens of a frozen DINOv2 as a map.

    Its stride is that of the picture after it was resized: the side of a patch.

    Args:
        config: which network.

    Raises:
        ImportError: transformers is not installed.
        ValueError: the network is absent, of another kind, or damaged.
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
    def weights_digest(config: Dinov2Config) -> str:
        """What tells this network from any other, without loading it: the hash of its two files.

        Raises:
            ImportError: `config` names a network on the hub, and transformers is not installed.
            ValueError: the network is absent.
        """
        digest = hashlib.sha256()
        for path in _files(config.model):
            with path.open("rb") as file:
                while block := file.read(2**24):
                    digest.update(block)
        return digest.hexdigest()

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """One token per patch of the resized pictures: `tokens` along the longer side, in the pictures' shape.

        Args:
            images: colours in [0, 1], over a plain background.
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
        patches = tokens[:, tokens.shape[1] - h * w :]  # behind the class token and the registers
        return patches.float().transpose(1, 2).unflatten(2, (h, w))


def _files(model: str) -> tuple[Path, Path]:
    """Settings and weights of a network in a folder or in the hub's cache."""
    folder = Path(model).expanduser()
    on_hub = not folder.exists() and re.fullmatch(r"[\w-]+/[\w.-]+", model) is not None
    paths = [_in_hub_cache(model, name) if on_hub else folder / name for name in (_SETTINGS, _WEIGHTS)]
    for path in paths:
        if not path.is_file():
            source = model if on_hub else "facebook/dinov2-small"
            raise ValueError(
                f"DINOv2 {model} must be a folder with {_SETTINGS} and {_WEIGHTS} or lie in the hub's cache, got no "
                f"{path.name} in {path.parent}. Where there is a network: hf download {source} --local-dir FOLDER; "
                "then name that folder as the model."
            )
    return paths[0], paths[1]


def _in_hub_cache(model: str, name: str) -> Path:
    """Where the hub's cache holds a file, or would hold it."""
    _transformers()
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(model, name)
    return (
        Path(found)
        if isinstance(found, str)
        else Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}", name)
    )


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError("DINOv2 needs transformers. Install it with: pip install 'ds4d[priors]'") from error
    return transformers


def _load(model: str) -> Any:
    transformers = _transformers()
    settings_path, weights_path = _files(model)
    settings = _settings(settings_path)
    _check_weights(weights_path, settings, settings_path)
    network = getattr(transformers, _CLASSES[settings["model_type"]])
    try:
        with _quiet(transformers):
            loaded, report = network.from_pretrained(
                settings_path.parent, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (RuntimeError, ValueError) as error:  # shapes that do not fit, settings that contradict one another
        raise ValueError(
            f"weights {weights_path} must fit the network that {settings_path.name} beside them describes, got others "
            f"({error}). Download both files from one place."
        ) from error
    if report["missing_keys"]:
        raise ValueError(
            f"weights {weights_path} must hold every weight of the network, got none for "
            f"{', '.join(sorted(report['missing_keys'])[:3])}. Download the file again."
        )
    return loaded.float().eval().requires_grad_(False)


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"settings {path} must be json, got {error}. Download the file again.") from error
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in _CLASSES:
        raise ValueError(
            f"settings {path} must be of model_type {' or '.join(_CLASSES)}, got {kind!r}. Name a folder with DINOv2."
        )
    return settings


def _check_weights(path: Path, settings: dict[str, Any], settings_path: Path) -> None:
    """Refuses a damaged file, and one of another size of network than the settings describe."""
    try:
        with safe_open(path, "pt") as file:
            tokens = [key for key in file.keys() if key.endswith("embeddings.cls_token")]  # noqa: SIM118
            widths = [file.get_slice(key).get_shape()[-1] for key in tokens]
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"weights {path} must be a whole safetensors file, got one that cannot be read ({error}). "
            "Download it again."
        ) from error
    wanted = settings.get("hidden_size")
    if widths != [wanted]:
        got = f"{widths[0]} in {path}" if widths else f"no class token in {path}"
        raise ValueError(
            f"hidden_size of {settings_path} must be that of the weights, got {wanted} and {got}. "
            "Download both files from one place."
        )


@contextmanager
def _quiet(transformers: Any) -> Generator[None, None, None]:
    """No progress bar for the second that loading takes, and no table of what is raised as an error."""
    logging = transformers.utils.logging
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
