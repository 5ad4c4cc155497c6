"""Simulates a batch on a fake clock: `python benchmarks/batch_scale.py --objects 1000000 --workers 1000`.

The claims and queues are those of `ds4d batch`; only the fits are drawn at random. docs/scale.md has the table.
"""

import gc
import json
import time
from dataclasses import dataclass, field

import tyro

from ds4d.batch.simulation import Simulation, SimulationConfig


@dataclass(frozen=True)
class Arguments:
    """Simulates one batch and prints a row of the table in docs/scale.md.

    Attributes:
        price: dollars per hour of one worker.
        json: print all numbers as JSON, too.
        simulation: the batch.
    """

    price: float = 1.0
    json: bool = False
    simulation: tyro.conf.OmitArgPrefixes[SimulationConfig] = field(default_factory=SimulationConfig)


def main(arguments: Arguments) -> None:
    """Runs the simulation."""
    gc.disable()  # millions of records live to the end
    began = time.perf_counter()
    config = arguments.simulation
    outcome = Simulation(config).run()
    took = time.perf_counter() - began
    print(
        f"| {config.objects} | {config.workers} | {outcome.done} | {outcome.set_aside} | {outcome.missing} | "
        f"{outcome.duplicates} | {outcome.preempted} | {outcome.takeovers} | {outcome.redone} | {outcome.hours:.2f} | "
        f"{60 * outcome.tail:.1f} | {100 * outcome.lost / outcome.paid:.2f} | "
        f"{100 * outcome.failed / outcome.paid:.2f} | "
        f"{100 * outcome.useful_fraction:.2f} | {outcome.calls / config.objects:.1f} | "
        f"{outcome.calls / outcome.hours / 3600:.0f} | {arguments.price * outcome.paid:.0f} | {took:.0f} |",
        flush=True,
    )
    if arguments.json:
        print(json.dumps(outcome.record()))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
