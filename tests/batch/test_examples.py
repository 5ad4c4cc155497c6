"""The examples for clusters: they are well formed, and their commands are those of this version."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ds4d.batch.shards import read_shard
from ds4d.cli.commands.batch import COMMAND, BatchArguments

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cluster"


def arguments(command: str) -> BatchArguments:
    """The arguments of a `ds4d batch` command line; variables stand for themselves."""
    program, name, *argv = shlex.split(command)
    assert (program, name) == ("ds4d", "batch")
    return COMMAND.parse(argv)


def content(name: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((EXAMPLES / name).read_text())


def test_slurm() -> None:
    text = (EXAMPLES / "slurm_array.sbatch").read_text()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    command = re.search(r"^exec (ds4d .*)$", text, flags=re.MULTILINE)
    assert command is not None and arguments(command[1]).preset == "fast"
    first, last = (int(number) for number in re.findall(r"--array=(\d+)-(\d+)", text)[0])
    shards = [
        read_shard(
            None,
            {
                "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_MIN": str(first),
                "SLURM_ARRAY_TASK_MAX": str(last), "SLURM_ARRAY_TASK_COUNT": str(last - first + 1),
            },
        )
        for task in range(first, last + 1)
    ]  # fmt: skip
    assert shards == [(number, 16) for number in range(1, 17)]


def test_sky() -> None:
    task = content("sky.yaml")
    command = [line for line in task["run"].splitlines() if line.startswith("ds4d")]
    assert len(command) == 1 and arguments(command[0]).shard == "none"
    assert task["envs"].keys() == set(re.findall(r"\$(\w+)", command[0]))


def test_kubernetes() -> None:
    job = content("kubernetes_job.yaml")
    assert job["kind"] == "Job" and job["apiVersion"] == "batch/v1"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert arguments(shlex.join(container["command"])).output == "/data/runs"


def test_ray() -> None:
    job = content("ray_job.yaml")
    assert job["kind"] == "RayJob"
    parsed = arguments(job["spec"]["entrypoint"])
    assert parsed.ray == "auto" and parsed.gpus_per_fit == 0.25 and parsed.jobs == 256
