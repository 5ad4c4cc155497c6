"""Attempts on a Ray cluster: Ray places them by CPUs, GPUs and memory, and starts machines where it may."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ds4d.batch.attempt import Job, Result, attempt
from ds4d.core import install_command

_PATIENCE = 10.0  # seconds for the cluster to answer
_SPARE = 8  # attempts that wait for a place, so that the cluster is never idle and sees that it may grow


class RayExecutor:
    """Attempts as tasks of Ray, which also end when the process that began them does.

    A task whose machine vanishes is no failed attempt: its object is given back and taken again.

    Args:
        address: address of the cluster; `local` starts one on this machine.
        slots: how many attempts are handed to Ray at once; None: what the cluster can take now, and some more.
        cpus: number of CPUs that a fit takes.
        gpus: number of GPUs that a fit takes; a fraction shares one.
        gibibytes: main memory that a fit takes, GiB.
        attempt: does one attempt; another one in tests.

    Raises:
        ImportError: Ray is not installed.
        ValueError: there is no cluster at the address.
    """

    def __init__(
        self,
        address: str,
        slots: int | None = None,
        *,
        cpus: float = 1.0,
        gpus: float = 0.0,
        gibibytes: Callable[[Job], float] = lambda job: 0.0,
        attempt: Callable[[Job, Callable[[], bool]], Result] = attempt,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise ImportError(f"--ray needs Ray. Run {install_command('cluster')}") from error
        self._ray: Any = ray
        self._owns = not ray.is_initialized()
        if self._owns:
            _connect(ray, address)
        self._gibibytes = gibibytes
        self._attempt = attempt
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_run)
        resources = ray.cluster_resources()
        fitting = [resources.get(name, 0.0) / each for name, each in (("CPU", cpus), ("GPU", gpus)) if each > 0]
        self.slots = slots or int(min(fitting, default=1.0)) + _SPARE
        self._tasks: dict[str, Any] = {}

    def submit(self, job: Job) -> Future:
        """See `Executor`."""
        memory = int(self._gibibytes(job) * 2**30)
        task = self._tasks[job.item.name] = self._task.options(memory=memory or None).remote(self._attempt, job)
        future: Future = Future()
        task.future().add_done_callback(lambda done: future.set_result(self._result_of(job.item.name, done)))
        return future

    def stop(self, name: str) -> None:
        """See `Executor`."""
        if name in self._tasks:
            self._ray.cancel(self._tasks[name])

    def close(self) -> None:
        """See `Executor`."""
        tasks = list(self._tasks.values())
        for task in tasks:
            self._ray.cancel(task)
        if tasks:
            self._ray.wait(tasks, num_returns=len(tasks), timeout=60.0)
        if self._owns:
            self._ray.shutdown()

    def _result_of(self, name: str, done: Future) -> Result:
        self._tasks.pop(name, None)
        errors = self._ray.exceptions
        error = done.exception()
        if error is None:
            return done.result()
        if isinstance(error, errors.TaskCancelledError):
            return Result("stopped")
        if isinstance(error, errors.NodeDiedError | errors.LocalRayletDiedError | errors.WorkerCrashedError):
            return Result("stopped", "machine lost", data={"cause": "machine lost", "error": str(error)})
        cause = "out of memory" if isinstance(error, errors.OutOfMemoryError) else type(error).__name__
        return Result("failed", cause, data={"cause": cause, "error": str(error)[:2000]})


def _connect(ray: Any, address: str) -> None:
    """Joins a cluster, or starts one; the handlers of signals stay those of the command."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    before = signal.getsignal(signal.SIGTERM)
    try:
        if host and port.isdecimal():
            # Ray itself tries for minutes.
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise ValueError(f"--ray must be the address of a Ray cluster, or local, got {address}: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _run(attempt: Callable[[Job, Callable[[], bool]], Result], job: Job) -> Result:
    """On the machine that Ray has chosen: `ray.cancel` interrupts this thread, which lets the fit save itself."""
    stop, results = threading.Event(), list[Result]()
    thread = threading.Thread(target=lambda: results.append(attempt(job, stop.is_set)), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.25)
    except KeyboardInterrupt:
        stop.set()
        thread.join()
        raise
    return results[0]
