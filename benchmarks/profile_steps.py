"""Where the time of a training step goes, by part of the method, as a table on the standard output.

    python benchmarks/profile_steps.py DATA/gltf/barbarian-run --preset fast --device cuda
    python benchmarks/profile_steps.py DATA/minions --preset cpu --device cpu --steps 600

One of `--stride` steps is taken apart: each part is timed from the end of the part before it to its own end, on a GPU
after waiting for the device. The steps between run as always, and their mean is the time of a step. On a GPU the
kernels that a step launches, and how long the device works on them, are counted over some steps at the end.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch import Tensor, nn
from torch.profiler import ProfilerActivity

from ds4d.core import choose_device
from ds4d.data import load_views
from ds4d.pipeline import prepare
from ds4d.presets import PRESETS
from ds4d.training import StepDone, Trainer
from ds4d.training.cuda_graphs import Step

_BETWEEN = "between the parts"
_COUNTED = 10  # steps at the end whose kernels are counted


class Clock:
    """Adds up the time between two marks under the name of the second.

    Args:
        device: device that is waited for at every mark.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.is_on = False
        self._last = 0.0

    def start(self) -> None:
        """The next part begins now."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """What was done since the last mark belongs to this part."""
        if not self.is_on or (self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()):
            return
        before = self._last
        self.start()
        self.seconds[part] = self.seconds.get(part, 0.0) + self._last - before

    def timed(self, part: str, function: Callable, before: str = _BETWEEN) -> Callable:
        """The function, whose time belongs to a part; the time before it belongs to another."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.mark(before)
            result = function(*arguments, **options)
            self.mark(part)
            return result

        return call

    def mark_gradient(self, tensor: Tensor, part: str) -> None:
        """Time until the gradient of this tensor is known belongs to a part."""
        if tensor.requires_grad:
            tensor.register_hook(lambda _: self.mark(part))


def attach(trainer: Trainer, clock: Clock) -> None:
    """Puts marks between the parts of the trainer's steps."""

    def replace(owner: Any, name: str, part: str, before: str = _BETWEEN) -> None:
        setattr(owner, name, clock.timed(part, getattr(owner, name), before))

    replace(trainer.schedule, "sample", "sampling")
    replace(trainer.depths, "update", "depth refresh")
    replace(trainer.images, "batch", "target images", "losses")
    replace(trainer.images, "weights", "target images", "losses")
    replace(trainer.densification, "accumulate", "density control", "field, backward")
    replace(trainer.densification, "densify_and_prune", "density control")
    replace(trainer, "_resample", "density control")
    replace(trainer.optimizer, "step", "optimizer")
    if trainer.view_correction is not None:
        correction = trainer.view_correction
        correction.register_forward_pre_hook(lambda *_: clock.mark("losses"))
        correction.register_forward_hook(lambda *_: clock.mark("view correction"))
    begin, render = trainer.recordings.step, trainer.renderer.render

    def step(*arguments: Any) -> Step:
        clock.mark(_BETWEEN)
        begun = begin(*arguments)
        clock.mark("field: heads")
        clock.mark_gradient(begun.gaussians.means, "splatting, backward")
        begun.losses = clock.timed("losses", type(begun).losses.__get__(begun))  # a recorded step is used many times
        return begun

    def splat(*arguments: Any, **options: Any) -> Any:
        clock.mark(_BETWEEN)
        rendering = render(*arguments, **options)
        clock.mark("splatting")
        clock.mark_gradient(rendering.colors, "losses, backward")
        return rendering

    trainer.recordings.step, trainer.renderer.render = step, splat
    if trainer.scene.motion is not None:
        _attach_motion(trainer.scene.motion, clock)


def _attach_motion(motion: nn.Module, clock: Clock) -> None:
    """Marks inside the motion model; they see nothing where it is replayed as a graph."""

    def inside(module: nn.Module, part: str) -> None:
        module.register_forward_pre_hook(lambda *_: clock.mark("field: heads"))
        module.register_forward_hook(lambda *_: clock.mark(part))
        for parameter in module.parameters():
            parameter.register_post_accumulate_grad_hook(lambda _: clock.mark(f"{part}, backward"))

    inside(motion.field.hexplane, "field: HexPlane")
    if motion.tssf is not None:
        inside(motion.tssf, "field: fusion")
    for parameter in (*motion.field.trunk.parameters(), *motion.field.heads.parameters()):
        parameter.register_post_accumulate_grad_hook(lambda _: clock.mark("field: heads, backward"))


def run(trainer: Trainer, clock: Clock, *, stride: int, steps: int) -> tuple[float, int, int]:
    """Trains; returns the mean seconds of a dynamic step that ran as always, and how many steps of either kind ran."""
    free, measured, total = [], 0, trainer.config.total_steps
    events = iter(trainer.run())
    while trainer.step < min(total, steps):
        clock.is_on = not trainer.is_static_stage and trainer.step % stride == 0
        clock.start()
        began = time.perf_counter()
        event = next(events)
        while not isinstance(event, StepDone):
            event = next(events)
        if clock.is_on:
            clock.mark(_BETWEEN)
            measured += 1
        elif event.stage == "dynamic":
            clock.start()
            free.append(time.perf_counter() - began)
    clock.is_on = False
    return sum(free) / max(1, len(free)), len(free), measured


def count_kernels(trainer: Trainer) -> tuple[float, float, float, float, list[tuple[str, float, float]]]:
    """Launches, kernels, and milliseconds of device and clock per step; the longest kernels (name, ms, calls).

    A CUDA graph is one launch of many kernels; copies count as kernels.
    """
    torch.cuda.synchronize()
    began = time.perf_counter()
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profile:
        for _ in range(_COUNTED):
            trainer._take_step()
        torch.cuda.synchronize()
    wall = (time.perf_counter() - began) * 1e3 / _COUNTED
    rows = profile.key_averages()
    kernels = [r for r in rows if r.device_type == torch.autograd.DeviceType.CUDA and r.self_device_time_total > 0]
    launches = sum(r.count for r in rows if "Launch" in r.key) / _COUNTED
    busy = sum(r.self_device_time_total for r in kernels) / 1e3 / _COUNTED
    longest = sorted(kernels, key=lambda r: -r.self_device_time_total)[:15]
    table = [(r.key, r.self_device_time_total / 1e3 / _COUNTED, r.count / _COUNTED) for r in longest]
    return launches, sum(r.count for r in kernels) / _COUNTED, busy, wall, table


def table_of(rows: Iterable[tuple[str, float]], total: float) -> str:
    """A Markdown table of milliseconds and shares."""
    lines = ["| part | ms | share |", "|---|---:|---:|"]
    lines += [f"| {name} | {1e3 * seconds:.2f} | {100 * seconds / total:.0f} % |" for name, seconds in rows]
    return "\n".join(lines)


def main() -> None:
    """Trains on one set and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--stride", type=int, default=10, help="one of so many steps is taken apart")
    parser.add_argument("--steps", type=int, default=1_000_000, help="end after so many steps")
    args = parser.parse_args()
    device, config = choose_device(args.device), PRESETS[args.preset]()
    if (args.set / "transforms_test.json").is_file():
        config = dataclasses.replace(config, views=dataclasses.replace(config.views, splits=("front", "mv")))
    began = time.perf_counter()
    trainer = prepare(load_views(args.set, config.views), config, device)
    ready, clock = time.perf_counter(), Clock(device)
    attach(trainer, clock)
    mean, free, measured = run(trainer, clock, stride=args.stride, steps=args.steps)
    total = sum(clock.seconds.values())
    parts = sorted(clock.seconds.items(), key=lambda item: -item[1])
    print(machine(), args.set.name, args.preset)
    print(f"{ready - began:.1f} s before the fit, {trainer.seconds:.1f} s of {trainer.step} steps")
    print(f"{1e3 * mean:.2f} ms a dynamic step ({free} steps), {1e3 * total / max(1, measured):.2f} ms taken apart")
    print(f"{trainer.scene.gaussians.num_gaussians} Gaussians at the end\n")
    print(table_of(((name, seconds / max(1, measured)) for name, seconds in parts), total / max(1, measured)))
    if device.type == "cuda":
        launches, kernels, busy, wall, longest = count_kernels(trainer)
        print(
            f"\n{launches:.0f} launches, {kernels:.0f} kernels a step, the device works {busy:.2f} of {wall:.2f} ms\n"
        )
        print("| kernel | ms | calls |\n|---|---:|---:|")
        for name, milliseconds, calls in longest:
            print(f"| {name[:90].replace('|', '/')} | {milliseconds:.2f} | {calls:.1f} |")


if __name__ == "__main__":
    main()
