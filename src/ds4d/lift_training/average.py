"""Averages the weights of networks: `python -m ds4d.lift_training.average --networks A B C --out FILE.safetensors`.

Networks that were trained on from one network with different settings or models are often better together than each
alone ("Model soups", Wortsman et al., ICML 2022).
"""

import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
import tyro

from ds4d.multiview.lift.checkpoint import read_network, save_network


@dataclass(frozen=True)
class AverageSettings:
    """Which networks to average.

    Attributes:
        networks: files of networks of one size.
        out: file of the average, .safetensors.
        int8: round large weights to 8 bits, which halves the file. Such a file is for use, not for further training.
    """

    networks: tuple[Path, ...]
    out: Path
    int8: bool = False

    def __post_init__(self) -> None:
        if len(self.networks) < 2 - self.int8:
            least = "one file" if self.int8 else "two files"
            raise ValueError(f"networks must be at least {least}, got {len(self.networks)}. Name more.")
        if self.out.suffix != ".safetensors":
            raise ValueError(f"out must end in .safetensors, got {self.out}. Rename it.")


def average(settings: AverageSettings) -> None:
    """Writes the mean of the weights; its card has all runs of the networks.

    Raises:
        FileNotFoundError: a network does not exist.
        ValueError: a network is damaged, or they differ in size.
    """
    found = [read_network(path) for path in settings.networks]
    first, *others = found
    for path, other in zip(settings.networks[1:], others, strict=True):
        if other.network.config != first.network.config:
            raise ValueError(
                f"network of {path} must be that of {settings.networks[0]}, {first.network.config}, got "
                f"{other.network.config}. Average networks of one size."
            )
    states = [each.network.state_dict() for each in found]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    first.network.load_state_dict(mean)
    runs = [run for each in found for run in each.card.get("runs", [])]
    distinct = [run for index, run in enumerate(runs) if run not in runs[:index]]
    images = max(each.card["images"] for each in found)
    date = datetime.now(timezone.utc).date().isoformat()
    merged = {"images": images, "date": date, "average_of": [each.sha256 for each in found]}
    card = {"images": images, "runs": [*distinct, merged]}
    save_network(settings.out, first.network, card, int8=settings.int8)


def main(argv: list[str] | None = None) -> int:
    """Averages networks; returns the exit code."""
    try:
        average(tyro.cli(AverageSettings, args=argv, description=__doc__))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
