"""Processes that fit one object together, one per GPU: started here, or by torchrun.

The first process is the one that was asked for the run: it alone checks the request, writes, reports and stops. The
others (`python -m ds4d.pipeline.follower`) get the request from it, read the same input, and take part in the fit. They
end with the first one, and a process that ends early ends the run.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
import torch.distributed as dist

from ds4d.core import DeviceName
from ds4d.pipeline.request import RunRequest
from ds4d.training import RankLostError, Ranks

GPUCount = int | Literal["torchrun"]

_HOST = "127.0.0.1"
_INTERFACE, _LOOPBACK = "GLOO_SOCKET_IFNAME", {"linux": "lo", "darwin": "lo0"}  # Gloo must not listen to others, either
_POLL = 0.1  # seconds between two looks at processes
_GRACE = 20.0  # seconds in which a process notices by itself that it waits for one that has ended


def check_gpus(gpus: GPUCount, name: DeviceName, device: torch.device) -> None:
    """Refuses a number of processes for which there are no GPUs.

    Args:
        gpus: number of processes; `torchrun` if it has started them.
        name: device that was asked for.
        device: device that was chosen.

    Raises:
        ValueError: it is below 1, or above the number of CUDA devices, unless the CPU was asked for.
    """
    if gpus == "torchrun":
        return
    if gpus < 1:
        raise ValueError(f"gpus must be 1 or above, got {gpus}.")
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if gpus > max(1, count) and not (device.type == "cpu" and name == "cpu"):
        raise ValueError(
            f"gpus must be at most the number of CUDA devices that can be used, {count}, got {gpus}. Lower it; with "
            "--device cpu it is the number of processes that share the cores."
        )


def is_under_torchrun() -> bool:
    """Whether torchrun has started this process among others."""
    return dist.is_available() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def is_follower() -> bool:
    """Whether torchrun has started this process, and another one reports."""
    return is_under_torchrun() and int(os.environ["RANK"]) > 0


def join_torchrun() -> Ranks:
    """Joins the processes that torchrun has started; each uses the GPU of its number on its machine."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return Ranks.join(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextmanager
def joined(request: RunRequest, gpus: GPUCount) -> Generator[Ranks, None, None]:
    """The first process of a run among its others, which have the request and end with the block.

    Args:
        request: what the run is asked to do.
        gpus: number of processes; `torchrun` if it has started them.

    Raises:
        RankLostError: another process ended before its part was done.
    """
    if gpus == 1:
        yield Ranks()
        return
    threads = torch.get_num_threads()
    try:
        if gpus == "torchrun":
            ranks = join_torchrun()
            ranks.from_first(request)
            yield ranks
        else:
            torch.set_num_threads(max(1, threads // gpus))
            with _followers(gpus) as ranks:
                ranks.from_first(request)
                yield ranks
    finally:
        torch.set_num_threads(threads)
        if dist.is_initialized() and request.device.type == "cpu":  # NCCL would wait for processes that have ended
            dist.destroy_process_group()


@contextmanager
def _followers(gpus: int) -> Generator[Ranks, None, None]:
    """This process as the first of several on this machine; the others end with the block."""
    with socket.create_server((_HOST, 0)) as server:  # torch itself would listen to other machines, too
        port = server.getsockname()[1]
        store = dist.TCPStore(
            _HOST, port, gpus, is_master=True, wait_for_workers=False, master_listen_fd=server.detach()
        )
    before = os.environ.get(_INTERFACE)
    if sys.platform in _LOOPBACK:
        os.environ[_INTERFACE] = _LOOPBACK[sys.platform]
    followers = _Followers(gpus, port)
    try:
        followers.wait_for(store)
        ranks = Ranks.join(0, gpus, store=store)
        followers.watch()
        yield ranks
        followers.end(_GRACE)  # they have done their part, and are about to leave by themselves
    except RankLostError as error:
        raise RankLostError(followers.why_lost() or str(error)) from error
    finally:
        followers.end()
        os.environ.pop(_INTERFACE, None)
        if before is not None:
            os.environ[_INTERFACE] = before


class _Followers:
    """The processes of one machine besides the first one.

    Args:
        count: number of processes with the first one.
        port: port of the store where they meet.
    """

    def __init__(self, count: int, port: int) -> None:
        self._count = count
        self._files = ExitStack()
        self._errors = [self._files.enter_context(tempfile.TemporaryFile()) for _ in range(1, count)]  # noqa: SIM115
        self._processes = [_start(number, count, port, file.fileno()) for number, file in enumerate(self._errors, 1)]
        self._is_over = False

    def wait_for(self, store: dist.TCPStore) -> None:
        """Until all have started, which takes seconds.

        Raises:
            RankLostError: one has ended, for which a collective would wait.
        """
        while not store.check([ready_key(number) for number in range(1, self._count)]):
            if why := self._why_lost():
                raise RankLostError(why)
            time.sleep(_POLL)

    def watch(self) -> None:
        """From now on ends the first process, too, if it waits for one that has ended, as NCCL does."""
        threading.Thread(target=self._watch, daemon=True).start()

    def why_lost(self) -> str:
        """Which process has ended and how, as soon as it is known; empty if none has."""
        end = time.monotonic() + _GRACE / 4
        while not (why := self._why_lost()) and time.monotonic() < end:
            time.sleep(_POLL)
        return why

    def end(self, patience: float = 0.0) -> None:
        """Ends those that do not end by themselves within some seconds."""
        self._is_over = True
        end = time.monotonic() + patience
        for process in self._processes:
            while process.poll() is None and time.monotonic() < end:
                time.sleep(_POLL)
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        self._files.close()

    def _watch(self) -> None:
        while not self._is_over and dist.is_initialized():
            if why := self._why_lost():
                time.sleep(_GRACE)
                if not self._is_over:
                    sys.stderr.write(f"ds4d: error: {why}\n")
                    os._exit(1)
            time.sleep(_POLL)

    def _why_lost(self) -> str:
        for number, (process, errors) in enumerate(zip(self._processes, self._errors, strict=True), start=2):
            code = process.poll()
            if code:
                how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                errors.seek(0)
                lines = errors.read().decode("utf-8", errors="replace").strip().splitlines()
                return (
                    f"process {number} of {self._count} of this run {how}{': ' * bool(lines)}{''.join(lines[-1:])}. "
                    "The others were ended; a fit that has begun continues from its last checkpoint with --resume."
                )
        return ""


def ready_key(number: int) -> str:
    """What a process writes into the store as soon as it has started."""
    return f"ready/{number}"


def _start(number: int, count: int, port: int, errors: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "ds4d.pipeline.follower", _HOST, str(port), str(number), str(count)],
        stdin=subprocess.PIPE,  # which closes when this process ends, however that is
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        start_new_session=True,  # Ctrl-C reaches this process alone
    )
