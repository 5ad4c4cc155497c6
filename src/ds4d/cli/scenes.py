"""Scenes of finished runs, as commands read them."""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from ds4d.cli.result import Outcome
from ds4d.runs import RunFolder
from ds4d.scene import DynamicGaussians, Scene, WindowedGaussians, measure_jump, read_scene


def load_scene(run: Path, device: torch.device) -> DynamicGaussians | WindowedGaussians:
    """The scene of a finished run.

    Raises:
        ValueError: the folder holds no finished run.
    """
    RunFolder(run).check_scene()
    return read_scene(run, device)


def with_jump(outcome: Outcome, scene: Scene) -> Outcome:
    """Adds the distance between the clip's end and its start, which `--loop` blends."""
    jump = measure_jump(scene)
    line = (
        f"loop: the end is {100 * jump.mean:.1f} % of the object's size from the start on average "
        f"(99 of 100 Gaussians within {100 * jump.percentile_99:.1f} %), blended over the last quarter of the clip"
    )
    text = "\n".join([outcome.text, line] if outcome.text else [line])
    return replace(outcome, text=text, result={**outcome.result, "jump": asdict(jump)})
