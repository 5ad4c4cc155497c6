"""What the live viewer costs a fit, as JSON on the standard output.

    python benchmarks/live_viewer.py DATA/gltf/barbarian-run --preset cpu --device cpu --steps 600

Blocks of steps with and without updates alternate in one fit, so that other load on the machine affects both. The
client of the viewer receives everything and renders nothing, since a browser on the same machine would measure itself.
`slowdown` is the median over neighboring blocks of the ratio of their times, minus 1; `update_fraction` is the fraction
of the time with the viewer that updates take.
"""

import argparse
import asyncio
import dataclasses
import json
import statistics
import threading
import time
from pathlib import Path

import msgspec
import viser
import websockets
from machine import machine

from ds4d.core import choose_device
from ds4d.data import FolderConfig, load_views
from ds4d.pipeline import TrainingStarted, prepare
from ds4d.presets import PRESETS
from ds4d.viewer import LiveViewer, Viewer

BLOCK = 20  # steps
CAMERA = {
    "type": "ViewerCameraMessage", "wxyz": (0.0, 1.0, 0.0, 0.0), "position": (0.0, 0.0, 2.0), "fov": 0.6, "near": 0.01,
    "far": 100.0, "image_height": 800, "image_width": 1200, "look_at": (0.0, 0.0, 0.0), "up_direction": (0.0, 1.0, 0.0),
}  # fmt: skip


class Receiver:
    """A client that counts the bytes it is sent, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.received = 0
        threading.Thread(target=lambda: asyncio.run(self._listen(port)), daemon=True).start()

    async def _listen(self, port: int) -> None:
        protocol = websockets.Subprotocol(f"viser-v{viser.__version__}")
        async with websockets.connect(f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None) as socket:
            await socket.send(msgspec.msgpack.encode(CAMERA))
            async for message in socket:
                self.received += len(message)


def main() -> None:
    """Measures what the arguments ask for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--splits", nargs="*", default=("front", "mv"))
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    device = choose_device(args.device)
    preset = PRESETS[args.preset]()
    views = FolderConfig(splits=tuple(args.splits), size=args.size or preset.views.size)
    training = dataclasses.replace(
        preset.training, static_steps=BLOCK, dynamic_steps=args.steps, low_resolution_fraction=0.0
    )
    trainer = prepare(load_views(args.data, views), dataclasses.replace(preset, training=training), device)
    viewer = Viewer()
    live = LiveViewer(viewer)
    live.on_event(TrainingStarted(trainer.scene, trainer.video))
    receiver = Receiver(viewer.port)
    while not viewer.has_clients:
        time.sleep(0.01)
    run = trainer.run()
    for _ in range(BLOCK):
        next(run)
    alone, viewed, updating = [], [], 0.0
    for block in range(args.steps // BLOCK):
        start = time.perf_counter()
        for _ in range(BLOCK):
            event = next(run)
            if block % 2:
                before = time.perf_counter()
                live.on_event(event)
                updating += time.perf_counter() - before
        (viewed if block % 2 else alone).append(time.perf_counter() - start)
    viewer.close()
    ratios = [ours / theirs for ours, theirs in zip(viewed, alone, strict=False)]
    print(json.dumps({
        "machine": machine(),
        "steps": args.steps,
        "num_gaussians": trainer.scene.gaussians.num_gaussians,
        "ms_per_step": {
            name: round(1e3 * statistics.median(blocks) / BLOCK, 1)
            for name, blocks in (("alone", alone), ("viewed", viewed))
        },
        "slowdown": round(statistics.median(ratios) - 1, 4),
        "update_fraction": round(updating / sum(viewed), 4),
        "megabytes": round(receiver.received / 1e6, 1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
