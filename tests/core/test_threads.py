import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F

from ds4d.core import elementwise, map_on_threads, mean, parallel_for, sigmoid
from ds4d.geometry import project_points
from ds4d.losses.regularizers import rigidity
from ds4d.types import Cameras


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("items", "grain"), [(0, 1), (1, 1), (7, 1), (100, 8), (100, 1000), (1000, 1)])
def test_every_item_is_done_once(items: int, grain: int) -> None:
    done: list[int] = []
    parallel_for(lambda first, end, into: into.extend(range(first, end)), items, grain, done)
    assert sorted(done) == list(range(items))


def test_several_threads_take_part() -> None:
    meeting = threading.Barrier(4, timeout=30)
    names = set()

    def kernel(first: int, end: int) -> None:
        if first < 4:
            meeting.wait()  # passes only if four threads are here at once
        names.add(threading.current_thread().name)

    parallel_for(kernel, 16, 1)
    assert len(names) == 4


def test_small_work_stays_on_the_calling_thread() -> None:
    names = []
    parallel_for(lambda first, end: names.append(threading.current_thread()), 5, 10)
    assert names == [threading.current_thread()]


def test_an_error_in_any_thread_is_raised() -> None:
    def kernel(first: int, end: int) -> None:
        if end == 100:
            raise RuntimeError("the last piece")

    with pytest.raises(RuntimeError, match="the last piece"):
        parallel_for(kernel, 100, 1)


def run_in_fork(work: Callable[[], bool]) -> bool:
    """What a forked child finds; False if it fails or does not end."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # ends a child that hangs
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_threads() -> None:
    parallel_for(lambda first, end: None, 100, 1)  # the parent has its threads now

    def work() -> bool:
        torch.set_num_threads(4)
        done: list[int] = []
        parallel_for(lambda first, end: done.append(end - first), 100, 1)
        return sum(done) == 100

    assert run_in_fork(work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_with_torch_what_its_parent_does() -> None:
    values = torch.linspace(0, 1, 400 * 400).reshape(400, 400).requires_grad_()

    def gradient() -> torch.Tensor:
        (result,) = torch.autograd.grad((values @ values).sin().sum(), values)  # starts all of torch's threads
        return result

    expected = gradient()
    assert run_in_fork(lambda: bool(gradient().allclose(expected)))


@pytest.mark.parametrize("shape", [(), (7,), (3, 8, 46, 48), (40_000,), (2, 20_000, 4)])
def test_means_are_those_of_all_values(shape: tuple[int, ...], generator: torch.Generator) -> None:
    values = torch.randn(shape, generator=generator)
    torch.testing.assert_close(mean(values), values.double().mean().float())


def _mean_of_squares(generator: torch.Generator) -> torch.Tensor:
    return torch.stack([mean(torch.randn(3, 8, 46, 48, generator=generator).square()) for _ in range(20)])


def _projections(generator: torch.Generator) -> torch.Tensor:
    viewmats = torch.eye(4).repeat(2, 7, 1, 1) + 0.1 * torch.randn(2, 7, 4, 4, generator=generator)
    Ks = torch.tensor([[90.0, 0, 32], [0, 90, 32], [0, 0, 1]]).expand(2, 7, 3, 3)
    pixels, _ = project_points(torch.randn(2, 200, 3, generator=generator), Cameras(viewmats, Ks, 64, 64))
    return pixels


def _gradient_of_rigidity(generator: torch.Generator) -> torch.Tensor:
    # So many that each gradient alone is worth several threads, and few neighbors, so that many gradients meet.
    canonical = torch.randn(4000, 3, generator=generator).requires_grad_()
    moved = torch.randn(2, 4000, 3, generator=generator).requires_grad_()
    neighbors = torch.randint(40, (4000, 4), generator=generator)
    rigidity(canonical, moved, neighbors).backward()
    assert canonical.grad is not None and moved.grad is not None
    return torch.cat((canonical.grad, *moved.grad))


def _sigmoids(generator: torch.Generator) -> torch.Tensor:
    return sigmoid(torch.randn(2, 7, 8400, generator=generator))


def _gradient_of_sigmoids(generator: torch.Generator) -> torch.Tensor:
    values = torch.randn(2, 7, 8400, generator=generator).requires_grad_()
    (gradient,) = torch.autograd.grad(sigmoid(values).square().sum(), values)
    return gradient


def _products_on_threads(generator: torch.Generator) -> torch.Tensor:
    images = torch.randn(5, 48, 64, 64, generator=generator)
    weights = torch.randn(48, 48, 3, 3, generator=generator)
    return torch.cat(map_on_threads(lambda image: F.gelu(F.conv2d(image, weights)), images.split(1)))


@pytest.mark.parametrize(
    "function",
    [
        _mean_of_squares,
        _projections,
        _gradient_of_rigidity,
        _sigmoids,
        _gradient_of_sigmoids,
        _products_on_threads,
    ],
)
@pytest.mark.parametrize("threads", [2, 8])
def test_bits_do_not_depend_on_the_number_of_threads(
    function: Callable[[torch.Generator], torch.Tensor], threads: int
) -> None:
    results = []
    for number in (1, threads):
        torch.set_num_threads(number)
        results.append(function(torch.Generator().manual_seed(0)))
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(), (7,), (40_000,), (3, 5, 10_000), (2, 0)])
def test_elementwise_is_the_function_of_each_value(shape: tuple[int, ...], generator: torch.Generator) -> None:
    values = torch.randn(shape, generator=generator)
    torch.testing.assert_close(elementwise(torch.square, values), values.square(), rtol=0, atol=0)
    torch.testing.assert_close(sigmoid(values), values.sigmoid())


def test_a_map_on_threads_keeps_the_order_and_the_number_of_threads() -> None:
    def tenfold(item: int) -> tuple[int, int]:
        return 10 * item, torch.get_num_threads()

    assert map_on_threads(tenfold, list(range(20))) == [(10 * item, 1) for item in range(20)]
    assert map_on_threads(tenfold, []) == []
    assert torch.get_num_threads() == 4
    (later,) = ThreadPoolExecutor(1).map(lambda _: torch.get_num_threads(), [None])
    assert later == 4


def test_an_error_of_a_map_on_threads_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        map_on_threads(lambda item: 1 // item, [1, 0, 2])
    assert torch.get_num_threads() == 4
