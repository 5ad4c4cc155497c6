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
        train(settings, report=_say)
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
