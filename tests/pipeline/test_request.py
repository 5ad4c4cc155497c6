"""Arguments of a run: what is refused before any work, and the weights that the settings need."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.features import FeaturesConfig, choose_extractor
from ds4d.pipeline.request import RunRequest, check_request
from ds4d.presets import PRESETS
from ds4d.runs import RunRecord

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ALL = ("Zero123++", "DINOv2", "VGG16", "Zero123-XL")


@pytest.fixture
def dinov2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is taken for DINOv2 until it is loaded."""
    folder = tmp_path / "weights" / "dinov2-small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_size": 384}))
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path / "weights"))
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A file that is taken for a video until it is read."""
    path = tmp_path / "video.mp4"
    path.touch()
    return path


def request(path: Path, config: GenerateConfig, tmp_path: Path) -> RunRequest:
    return check_request(path, tmp_path / "run", config, CPU, resume=False)


def test_the_paper_preset_names_all_missing_weights(tmp_path: Path, video: Path) -> None:
    with pytest.raises(ValueError) as refusal:
        request(video, PRESETS["paper"](), tmp_path)
    assert all(name in str(refusal.value) for name in (*ALL, "hf download", "--allow-missing-weights"))


def test_folders_of_views_need_no_view_generator(tmp_path: Path, sample_folder: Path) -> None:
    with pytest.raises(ValueError, match="DINOv2") as refusal:
        request(sample_folder, PRESETS["paper"](), tmp_path)
    assert "Zero123++" not in str(refusal.value)


def test_weights_that_are_found_are_not_missing(tmp_path: Path, video: Path, dinov2: Path) -> None:
    with pytest.raises(ValueError, match="VGG16") as refusal:
        request(video, PRESETS["paper"](), tmp_path)
    assert "DINOv2" not in str(refusal.value)


def test_missing_weights_may_be_allowed(tmp_path: Path, video: Path) -> None:
    config = replace(PRESETS["paper"](), allow_missing_weights=True)
    record = request(video, config, tmp_path).record
    assert (record.views_source, record.features_kind) == ("auto", "auto")


def test_networks_are_used_wherever_they_are_required(tmp_path: Path, video: Path, dinov2: Path) -> None:
    """On a CPU, too, where `auto` alone would choose the filters."""
    overrides = {"allow_missing_weights": False, "views.source": "inflate", "features.kind": "auto"}
    record = request(video, with_overrides(PRESETS["tiny"](), overrides), tmp_path).record
    assert record.features_kind == "dinov2"
    assert record.resolved_config.features.kind == "dinov2" and record.config.features.kind == "auto"


def test_resolved_settings_follow_the_record() -> None:
    record = RunRecord(Path("video.mp4"), "cpu", PRESETS["tiny"](), views_source="inflate", features_kind="dinov2")
    assert record.resolved_config.views.source == "inflate"
    assert record.resolved_config.features.kind == "dinov2"
    assert replace(record, features_kind="auto").resolved_config.features == PRESETS["tiny"]().features


AUTO = FeaturesConfig(kind="auto")


def test_automatic_features_without_weights_are_filters() -> None:
    assert [choose_extractor(AUTO, device)[0] for device in (CPU, GPU)] == ["filters", "filters"]


def test_automatic_features_are_dinov2_with_weights_and_a_gpu(dinov2: Path) -> None:
    pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    assert [choose_extractor(AUTO, device)[0] for device in (CPU, GPU)] == ["filters", "dinov2"]


@pytest.mark.parametrize("kind", ["filters", "dinov2"])
def test_requested_features_are_used(kind: str) -> None:
    assert choose_extractor(FeaturesConfig(kind=kind), CPU) == (kind, "as requested")
