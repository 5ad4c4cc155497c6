"""`python -m ds4d.pipeline.follower HOST PORT NUMBER COUNT`: a process of a run on several GPUs, which another reports.

It ends with the process that started it, whose end of the pipe to this one's standard input closes then.
"""

import os
import sys
import threading


def main(host: str, port: int, number: int, count: int) -> None:
    """Joins the processes of a run, and takes part in it.

    Args:
        host: where the first process is.
        port: port of its store.
        number: number of this process, from 1.
        count: number of processes.
    """
    import torch
    import torch.distributed as dist

    from ds4d.pipeline.flow import follow
    from ds4d.pipeline.processes import ready_key
    from ds4d.training import Ranks

    if torch.cuda.is_available() and number < torch.cuda.device_count():
        torch.cuda.set_device(number)
    store = dist.TCPStore(host, port, count, is_master=False)
    store.set(ready_key(number), "")
    follow(Ranks.join(number, count, store=store))


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
