"""Files of trained networks: safetensors with their settings and figures in the header.

Weights are in half precision or, in half the size, in 8 bits: large ones as integers with a scale for each row.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ds4d.io import atomic_path, is_finite, parse_json, read_safetensors
from ds4d.multiview.lift.network import LiftNetwork, NetworkConfig

_KEY = "ds4d"
# One changes when older files can no longer be read.
FORMAT = "ds4d-lift-1"
INT8_FORMAT = "ds4d-lift-2"

_SCALE = ".scale"
_LEAST_INT8 = 4096  # numbers of a weight that is worth rounding


@dataclass(frozen=True)
class TrainedNetwork:
    """A network from a file.

    Attributes:
        network: the network, on the CPU, in evaluation mode.
        card: how it was trained and what it reaches.
        sha256: digest of its weights.
    """

    network: LiftNetwork
    card: dict[str, Any]
    sha256: str


def save_network(path: Path, network: LiftNetwork, card: dict[str, Any], *, int8: bool = False) -> None:
    """Writes a network.

    Args:
        path: a `.safetensors` file.
        network: the network.
        card: how it was trained and what it reaches, as JSON.
        int8: whether large weights are rounded to 8 bits.
    """
    tensors = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    tensors = _rounded(tensors) if int8 else {name: value.half().contiguous() for name, value in tensors.items()}
    header = {
        "format": INT8_FORMAT if int8 else FORMAT,
        "network": asdict(network.config),
        "sha256": _digest(tensors),
        "card": card,
    }
    with atomic_path(path) as temporary:
        # Under one key: safetensors writes several in random order, and equal networks should be equal files.
        save_file(tensors, temporary, {_KEY: json.dumps(header)})


def read_network(path: Path) -> TrainedNetwork:
    """Reads a network, and compares its weights with the digest in the header.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another kind or version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be the weights of a trained network, got no such file. Check the path.")
    try:
        stored, metadata = read_safetensors(path)
    except OSError as error:
        raise ValueError(f"{path} must be a complete safetensors file, got {error}. Copy it again.") from error
    try:
        tensors = _restored(stored)
        described = parse_json(metadata.get(_KEY, "{}"))
        found = described.get("format", "no format")
        if found in (FORMAT, INT8_FORMAT):
            config = NetworkConfig(**described["network"])
            network = _empty_network(config, tensors)
            network.load_state_dict(tensors, assign=True)
            card, sha256 = dict(described["card"]), _digest(stored)
            if sha256 != described["sha256"]:
                raise ValueError(
                    f"weights with SHA-256 {sha256[:12]}… where the header says {described['sha256'][:12]}…"
                )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} must hold a whole network and its card, got {reason}. Copy it again.") from error
    if found not in (FORMAT, INT8_FORMAT):
        raise ValueError(
            f"{path} must be a network of format {FORMAT} or {INT8_FORMAT}, got {found}. "
            "Train it again, or use the version of ds4d that wrote it."
        )
    if not all(is_finite(value) for value in tensors.values()):
        raise ValueError(f"{path} must hold finite weights, got NaN or infinity. Use an earlier file.")
    return TrainedNetwork(network.eval().requires_grad_(False), card, sha256)


def _rounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large weights as 8-bit integers, with half-precision scales for their rows beside them."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if value.ndim < 2 or value.numel() < _LEAST_INT8:
            found[name] = value.half().contiguous()
            continue
        largest = value.flatten(1).abs().amax(1)
        scales = (largest / 127).clamp_min(torch.finfo(torch.float16).tiny).half()
        rows = value / scales.float().reshape(-1, *[1] * (value.ndim - 1))
        found[name], found[name + _SCALE] = rows.round().clamp(-127, 127).to(torch.int8), scales
    return found


def _restored(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in single precision."""
    found = {}
    for name, value in stored.items():
        if name.endswith(_SCALE):
            continue
        found[name] = value.float()
        if value.dtype == torch.int8:
            found[name] *= stored[name + _SCALE].float().reshape(-1, *[1] * (value.ndim - 1))
    return found


def _empty_network(config: NetworkConfig, tensors: Mapping[str, Tensor]) -> LiftNetwork:
    """The network that has these weights, without memory for them; refuses settings of another one."""
    if not 0 <= config.depth <= len(tensors):
        raise ValueError(f"a depth of {config.depth}")
    with torch.device("meta"):
        network = LiftNetwork(config)
    expected = {name: value.shape for name, value in network.state_dict().items()}
    if expected != {name: value.shape for name, value in tensors.items()}:
        raise ValueError("weights of another network than its settings describe")
    return network


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the weights, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
