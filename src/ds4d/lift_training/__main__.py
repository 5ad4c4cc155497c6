"""Trains the lifting network: `python -m ds4d.lift_training --data DIR --out FILE.safetensors`.

With several GPUs: `torchrun --nproc-per-node N -m ds4d.lift_training ...`.
"""

import sys

import tyro

from ds4d.lift_training.run import train
from ds4d.lift_training.settings import TrainSettings


def main(argv: list[str] | None = None) -> int:
    """Trains and prints progress; returns the exit code."""
    settings = tyro.cli(TrainSettings, args=argv, description=__doc__)
    try:
        train(settings, report=_print)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
