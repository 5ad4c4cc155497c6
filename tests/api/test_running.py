"""A whole run in one call."""

import logging
from pathlib import Path
from typing import Any

import pytest

import ds4d
from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.runs import RunFolder, read_record

SHORT = {
    "training.static_steps": 2,
    "training.dynamic_steps": 4,
    "training.losses.lpips.weight": 0.1,  # without its weights, which no test finds
    "outputs": {"size": 16, "seconds": 0.2, "sheet_columns": 1, "sheet_size": 16},
}


def test_a_run_gives_what_it_wrote(
    tmp_path: Path, sample_folder: Path, quick_config: GenerateConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ds4d"):
        result = ds4d.run(
            str(sample_folder), str(tmp_path / "run"), config=quick_config, overrides=SHORT, seed=3, device="cpu"
        )
    assert result.folder == tmp_path / "run"
    assert result.metrics == RunFolder(result.folder).read_metrics()
    assert result.provenance == result.metrics.provenance
    assert [degradation.part for degradation in result.degradations] == ["lpips"]
    assert result.scene.num_gaussians == result.metrics.num_gaussians
    assert read_record(result.folder / "config.json").config == with_overrides(quick_config, SHORT | {"seed": 3})
    logged = [record.getMessage() for record in caplog.records if record.name == "ds4d"]
    assert any("training" in line for line in logged) and any("step 6 of 6" in line for line in logged)
    assert [record.levelname for record in caplog.records if "lpips" in record.getMessage()] == ["WARNING"]


def test_settings_of_an_earlier_run_can_be_changed(tmp_path: Path, finished_run: Path) -> None:
    record = read_record(finished_run / "config.json")
    events = ds4d.iter_run(
        record.input, tmp_path / "run", config=finished_run / "config.json", overrides={"views.size": 24}, device="cpu"
    )
    next(events)
    events.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": "absent.mp4"}, "absent.mp4"),
        ({"preset": "slow"}, "preset must be one of "),
        ({"preset": "tiny", "config": GenerateConfig()}, "config"),
        ({"config": "absent.json"}, "absent.json"),
        ({"overrides": {"training.dynamc_steps": 1}}, "Did you mean training.dynamic_steps"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_raise_at_the_call(
    tmp_path: Path, sample_folder: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ds4d.iter_run(**({"input": sample_folder, "output": tmp_path / "run", "device": "cpu"} | arguments))
    assert not (tmp_path / "run").exists()
