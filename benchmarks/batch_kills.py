"""`ds4d batch` under fire: random processes are killed (SIGKILL) while several workers share a batch.

`python benchmarks/batch_kills.py FOLDER --clips 200` fits short synthetic videos with the preset tiny at 64 pixels.
Every 20 seconds a worker or one of its fits is killed, and killed workers are started again. It prints how many objects
are done, lost, or done twice, and what the layer costs beside the fits, with and without what it took to start killed
workers again. The same command continues. With `--nodes 2` the fits run on a Ray cluster of two nodes on this machine,
and one of them is killed now and then, too.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import tyro
from machine import machine

from ds4d.data.synthetic import SampleConfig, write_sample


@dataclass(frozen=True)
class Arguments:
    """What is done.

    Attributes:
        folder: where the videos and the runs are written.
        clips: number of videos.
        workers: number of `ds4d batch` processes, each with one fit at a time.
        every: time between two kills, seconds; 0: none.
        limit: time after which the test is stopped, seconds.
        steps: number of optimization steps of a fit, one in six of them static; by default the preset's.
        seed: seed of the choice of what is killed.
        nodes: number of nodes of a Ray cluster on this machine, which runs the fits; 0: none.
        cpus_per_node: number of CPUs of each of them.
        kill: what is killed in turn: `worker` (a `ds4d batch` process, and with Ray all fits that it has asked for),
            `fit`, and with Ray `node`; by default fits and workers, and with Ray nodes, too.
    """

    folder: tyro.conf.Positional[Path]
    clips: int = 200
    workers: int = 2
    every: float = 20.0
    limit: float = 7200.0
    steps: int | None = None
    seed: int = 0
    nodes: int = 0
    cpus_per_node: int = 1
    kill: tuple[Literal["worker", "fit", "node"], ...] | None = None


def main(arguments: Arguments) -> None:
    """Runs the test and prints what came out as JSON."""
    videos, out = arguments.folder / "videos", arguments.folder / "out"
    make_videos(videos, arguments.clips)
    steps = arguments.steps
    if arguments.kill and "node" in arguments.kill and not arguments.nodes:
        raise SystemExit("--kill: node needs --nodes above 0, got 0.")
    cluster = Nodes(arguments.nodes, arguments.cpus_per_node) if arguments.nodes else None
    command = [
        *(sys.executable, "-m", "ds4d", "batch", str(videos), "-o", str(out), "--preset", "tiny", "--quiet"),
        *("--retries", "1000", "--timeout", "30", "--shard", "none"),
        *("--set", "size=64", "device=cpu", "outputs.size=64", "outputs.seconds=1"),
        *((f"training.static-steps={steps // 6}", f"training.dynamic-steps={steps - steps // 6}") if steps else ()),
        *(("--ray", cluster.address) if cluster else ()),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    began, rng, kills = time.monotonic(), random.Random(arguments.seed), {"worker": 0, "fit": 0, "node": 0}
    kinds = arguments.kill or (("worker", "fit", "node") if cluster else ("worker", "fit"))
    workers = [subprocess.Popen(command, env=environment) for _ in range(arguments.workers)]
    first = {worker.pid for worker in workers}
    next_kill, own, starts, fits = began + arguments.every, {}, {}, {}
    while time.monotonic() - began < arguments.limit:
        time.sleep(0.5)
        count_cpu(workers, out, own, starts, fits)
        if arguments.every and time.monotonic() >= next_kill:
            next_kill += arguments.every
            kills[kill_one(rng.choice(kinds), workers, out, cluster, rng)] += 1
        for number, worker in enumerate(workers):
            if worker.poll() is not None and worker.returncode < 0:
                workers[number] = subprocess.Popen(command, env=environment)
        if all(worker.poll() is not None for worker in workers):
            break
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()
    seconds = time.monotonic() - began
    if cluster is not None:
        cluster.close()
    result = {**count(out, arguments.clips), "kills": kills, "seconds": round(seconds, 1)}
    work, again = max(sum(fits.values()), 1e-9), sum(spent for pid, spent in starts.items() if pid not in first)
    result["cpu_of_layer_over_cpu_of_fits"] = round(sum(own.values()) / work, 4)
    result["the_same_without_starts_after_kills"] = round((sum(own.values()) - again) / work, 4)
    print(json.dumps({"machine": machine(), "arguments": vars(arguments) | {"folder": ""}, **result}, indent=1))


def make_videos(folder: Path, clips: int) -> None:
    """Writes a few different videos, each many times."""
    kinds = 4
    for kind in range(kinds):
        sample = folder.parent / f"sample{kind}"
        if not sample.exists():
            write_sample(sample, SampleConfig(frames=6 + kind, size=64, supersampling=1))
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(clips):
        shutil.copy(folder.parent / f"sample{number % kinds}" / "front.mp4", folder / f"clip{number:04d}.mp4")


class Nodes:
    """A Ray cluster on this machine.

    Args:
        count: number of nodes.
        cpus: number of CPUs of each.
    """

    def __init__(self, count: int, cpus: int) -> None:
        os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        from ray.cluster_utils import Cluster

        self._options = {"num_cpus": cpus, "object_store_memory": 80 * 2**20, "memory": cpus * 3 * 2**30}
        head = {**self._options, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._others = [self._cluster.add_node(**self._options) for _ in range(1, count)]
        self.address = self._cluster.address

    def replace_one(self, rng: random.Random) -> None:
        """Kills a node, but not the head, and starts another one."""
        if self._others:
            self._cluster.remove_node(self._others.pop(rng.randrange(len(self._others))), allow_graceful=False)
            self._others.append(self._cluster.add_node(**self._options))

    def close(self) -> None:
        """Ends all nodes."""
        self._cluster.shutdown()


def kill_one(kind: str, workers: list[subprocess.Popen], out: Path, cluster: Nodes | None, rng: random.Random) -> str:
    """Kills a random worker, fit or node; returns which."""
    if kind == "node":
        assert cluster is not None  # checked
        cluster.replace_one(rng)
        return kind
    victims = list(fits_of(out)) if kind == "fit" else [psutil.Process(worker.pid) for worker in workers]
    if victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            rng.choice(victims).kill()
    return kind


def fits_of(out: Path) -> Iterator[psutil.Process]:
    """The processes of fits."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "ds4d.batch.child" in words and any(word.startswith(str(out)) for word in words):
                yield process


def count_cpu(
    workers: list[subprocess.Popen], out: Path, own: dict[int, float], starts: dict[int, float], fits: dict[int, float]
) -> None:
    """Notes the processor time of all processes that live: the last of each counts.

    A worker starts until it has left a sign of life in the batch.
    """
    for worker in workers:
        if not any((out / ".batch" / "workers").glob(f"*-{worker.pid}-*")):
            with contextlib.suppress(psutil.NoSuchProcess):
                starts[worker.pid] = sum(psutil.Process(worker.pid).cpu_times()[:2])
    for found, processes in ((own, (psutil.Process(worker.pid) for worker in workers)), (fits, fits_of(out))):
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in processes:
                found[process.pid] = sum(process.cpu_times()[:2])


def count(out: Path, clips: int) -> dict[str, Any]:
    """What the records and the runs say."""
    done: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for path in (out / ".batch").glob(f"{4 * '[0-9a-f]'}/*.[0-9]*"):
        record = json.loads(path.read_text())
        kinds[record["kind"]] = kinds.get(record["kind"], 0) + 1
        if record["kind"] == "done":
            name = path.name.rpartition(".")[0]
            done[name] = done.get(name, 0) + 1
    whole = [
        name for name in done if (out / name / "report.html").is_file() and (out / name / "metrics.json").is_file()
    ]
    return {
        "clips": clips,
        "done": len(done),
        "done_twice": sum(number > 1 for number in done.values()),
        "done_without_result": len(done) - len(whole),
        "missing": clips - len(done),
        "records": kinds,
    }


if __name__ == "__main__":
    main(tyro.cli(Arguments))
