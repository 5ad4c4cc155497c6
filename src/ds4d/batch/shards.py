"""Which share of a batch is this process's: `I/N`, or what a scheduler says in the environment."""

import re
from collections.abc import Mapping, Sequence

# Variables by scheduler: this process's number, from 0, and the number of processes.
_COUNTED = (
    ("SKYPILOT_JOB_RANK", "SKYPILOT_NUM_JOBS"),
    ("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("RANK", "WORLD_SIZE"),
)


def read_shard(text: str | None, environment: Mapping[str, str]) -> tuple[int, int] | None:
    """The share of this process as (number from 1, count); None for the whole batch.

    Args:
        text: `I/N`, from 1/N to N/N; `none` for the whole batch; None: as the environment says.
        environment: variables of the process; a Slurm array, SkyPilot, Slurm tasks, or RANK and WORLD_SIZE.

    Raises:
        ValueError: the text or the variables make no share.
    """
    if text == "none":
        return None
    if text is not None:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"--shard must be I/N with I from 1 to N, or none, got {text!r}.")
        return int(match[1]), int(match[2])
    if "SLURM_ARRAY_TASK_ID" in environment:
        return _slurm_array(environment)
    for rank, count in _COUNTED:
        if rank in environment and count in environment:
            number, total = _number(environment, rank), _number(environment, count)
            if not 0 <= number < total:
                raise ValueError(f"{rank} must be below {count}, got {number} and {total}. Give --shard.")
            if total > 1:
                return number + 1, total
    return None


def share(names: Sequence[str], shard: tuple[int, int] | None) -> list[str]:
    """The objects of a share: every N-th one, beginning with the I-th."""
    return list(names) if shard is None else list(names[shard[0] - 1 :: shard[1]])


def _slurm_array(environment: Mapping[str, str]) -> tuple[int, int]:
    first, step = _number(environment, "SLURM_ARRAY_TASK_MIN", 0), _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
    number = _number(environment, "SLURM_ARRAY_TASK_ID")
    if "SLURM_ARRAY_TASK_MAX" in environment:  # a part of an array that is submitted again counts fewer tasks
        count = (_number(environment, "SLURM_ARRAY_TASK_MAX") - first) // max(step, 1) + 1
    else:
        count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    index, rest = divmod(number - first, max(step, 1))
    if rest or not 0 <= index < count:
        raise ValueError(f"SLURM_ARRAY_TASK_ID must be a task of the array, got {number}. Give --shard.")
    return index + 1, count


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(f"{name} must be a whole number, got {text!r}. Give --shard.")
    return int(text)
