"""A batch on a Ray cluster of two nodes, one of which vanishes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ds4d.batch.attempt import Job, Result
from ds4d.batch.claims import Claims, Owner
from ds4d.batch.manifest import Item
from ds4d.batch.queue import Queue, divide
from ds4d.batch.ray_executor import RayExecutor
from ds4d.batch.stores import FolderStore
from ds4d.batch.worker import Ended, Started, work

cluster_utils = pytest.importorskip("ray.cluster_utils")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one CPU each on this machine."""
    import ray

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    memory = {"object_store_memory": 80 * 2**20, "memory": 2**30, "include_dashboard": False}
    both = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    try:
        yield both, both.add_node(num_cpus=1, object_store_memory=80 * 2**20, memory=2**30)
    finally:
        ray.shutdown()
        both.shutdown()


def test_a_batch_survives_the_loss_of_a_node(cluster: Any, tmp_path: Path) -> None:
    both, second = cluster

    def attempt(job: Job, is_stopped: Callable[[], bool]) -> Result:
        import ray

        node = ray.get_runtime_context().get_node_id()
        with open(Path(job.output) / "starts.txt", "a") as file:
            file.write(f"{job.item.name} {node}\n")
        end = time.monotonic() + 120
        while len(nodes_in(Path(job.output))) < 2 and time.monotonic() < end:  # a node may start long after the other
            time.sleep(0.1)
        time.sleep(0.2)
        if job.item.name == "bad":
            return Result("failed", "invalid input", True, {"cause": "invalid input"})
        return Result("done", data={"node": node})

    names = [*(f"object{number}" for number in range(8)), "bad"]
    jobs = {name: Job(Item(name, f"{name}.mp4"), str(tmp_path)) for name in names}
    store = FolderStore(tmp_path / "state")
    claims = Claims(store, Owner("driver"), clock=time.monotonic, wall_clock=time.time)
    executor = RayExecutor(both.address, gibibytes=lambda job: 0.5, attempt=attempt)
    outcomes: list[tuple[str, str]] = []
    nodes, removed = set(), False
    for event in work(jobs, claims, Queue(claims, divide(names, claims.buckets)), executor):
        if isinstance(event, Ended):
            outcomes.append((event.name, event.outcome))
            nodes.add(event.data.get("node"))
        elif not removed and not isinstance(event, Started) and len(set(read(tmp_path))) >= 4:
            both.remove_node(second, allow_graceful=False)
            removed = True
    assert removed
    assert sorted(name for name, outcome in outcomes if outcome == "done") == sorted(set(names) - {"bad"})
    assert [name for name, outcome in outcomes if outcome == "failed"] == ["bad"]
    assert len(nodes_in(tmp_path)) == 2  # both have worked


def read(folder: Path) -> list[str]:
    path = folder / "starts.txt"
    return path.read_text().splitlines() if path.exists() else []


def nodes_in(folder: Path) -> set[str]:
    """The nodes that have begun attempts."""
    return {line.split()[1] for line in read(folder) if " " in line}


def test_no_cluster_is_an_error() -> None:
    with pytest.raises(ValueError, match="--ray"):
        RayExecutor("127.0.0.1:9")
