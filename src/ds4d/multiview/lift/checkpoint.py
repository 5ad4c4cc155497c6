"""Files of trained networks: safetensors in half precision, with their settings and figures in the header."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ds4d.io import atomic_path
from ds4d.multiview.lift.network import LiftNetwork, NetworkConfig

_KEY = "ds4d"
FORMAT = "ds4d-lift-1"  # changes when older files can no longer be read


def save_network(path: Path, network: LiftNetwork, card: dict[str, Any]) -> None:
    """Writes a network.

    Args:
        path: a `.safetensors` file.
        network: the network.
        card: how it was trained and what it reaches, as JSON.
    """
    tensors = {name: value.detach().half().cpu().contiguous() for name, value in network.state_dict().items()}
    header = {"format": FORMAT, "network": asdict(network.config), "card": card}
    with atomic_path(path) as temporary:
        # Under one key: safetensors writes several in random order, and equal networks should be equal files.
        save_file(tensors, temporary, {_KEY: json.dumps(header)})


def read_network(path: Path) -> tuple[LiftNetwork, dict[str, Any]]:
    """A trained network on the CPU, in evaluation mode, and its card.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another kind or version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be the weights of a trained network, got no such file. Check the path.")
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_KEY, "{}")
            tensors: dict[str, Tensor] = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} must be a complete safetensors file, got {error}. Copy it again.") from error
    try:
        described = json.loads(header)
        found = described.get("format", "no format")
        if found == FORMAT:
            network = LiftNetwork(NetworkConfig(**described["network"]))
            network.load_state_dict(tensors)
            card = dict(described["card"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} must hold a whole network and its card, got {reason}. Copy it again.") from error
    if found != FORMAT:
        raise ValueError(
            f"{path} must be a network of format {FORMAT}, got {found}. "
            "Train it again, or use the version of ds4d that wrote it."
        )
    if not all(value.isfinite().all() for value in tensors.values()):
        raise ValueError(f"{path} must hold finite weights, got NaN or infinity. Use an earlier file.")
    return network.eval().requires_grad_(False), card


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
