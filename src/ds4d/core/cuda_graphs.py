"""CUDA graphs: functions whose kernels are recorded once and replayed by a single launch."""

import functools
import gc
from collections.abc import Callable, Sequence

import torch

Part = Callable[[], None]


def record_graphs(parts: Sequence[Part]) -> list[Part]:
    """Records functions as CUDA graphs, which are to be replayed in this order; each leaves its results in attributes.

    All kernels must have been loaded: the functions must have run before, on tensors of these kinds.

    Returns:
        The replay of each.
    """
    pool, stream = torch.cuda.graph_pool_handle(), _recorded_stream(torch.cuda.current_device())
    gc.collect()  # graphs that were replaced keep their memory, and would spoil the recording if they were freed in it
    torch.cuda.empty_cache()
    stream.wait_stream(torch.cuda.current_stream())
    graphs = [torch.cuda.CUDAGraph() for _ in parts]
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        with torch.cuda.stream(stream):
            for graph, part in zip(graphs, parts, strict=True):
                # Other threads may ask for memory meanwhile.
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    part()
                finally:
                    graph.capture_end()
    finally:
        if was_collecting:
            gc.enable()
    torch.cuda.current_stream().wait_stream(stream)
    return [graph.replay for graph in graphs]


@functools.cache
def _recorded_stream(device: int) -> torch.cuda.Stream:
    """The stream of all recordings on a device: libraries keep memory for every stream that they have seen."""
    return torch.cuda.Stream(device)
