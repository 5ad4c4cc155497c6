"""Real fits of two variants, from a folder to the table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import torch

from ds4d.ablation import FitDone, ablate, find_scenes, fit_scene, plan, write_tables
from ds4d.config import GenerateConfig


def test_two_variants_on_the_sample(sample_folder: Path, quick_config: GenerateConfig, tmp_path: Path) -> None:
    preset = replace(quick_config, training=replace(quick_config.training, dynamic_steps=30))
    fits = plan(find_scenes([sample_folder], preset.views), preset, ["A", "H"], seeds=1)
    events = list(ablate(fits, tmp_path, fit_scene, device=torch.device("cpu")))
    assert all(isinstance(event, FitDone) for event in events[1:]) and len(events) == 3
    assert {path.name for path in write_tables(tmp_path)} == {"table.json", "table.md", "table.png"}
    (table,) = json.loads((tmp_path / "table.json").read_text())["tables"]
    assert (table["variants"], table["base"], table["scored_on"]) == (["A", "H"], "A", "held-out views")
    means = {name: table["means"]["psnr"][name]["mean"] for name in ("A", "H")}
    assert all(math.isfinite(value) and value > 10 for value in means.values())
    assert math.isclose(table["differences"]["psnr"]["H"]["mean"], means["H"] - means["A"])
    # In a fit as short as this one, initialization on the hull gains decibels.
    assert means["H"] > means["A"] + 1
