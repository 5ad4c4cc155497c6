"""Arguments of a run: what is refused before any work, and the weights that the settings need."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notices_to, with_overrides
from ds4d.features import FeaturesConfig, choose_extractor
from ds4d.pipeline.request import RunRequest, check_request
from ds4d.presets import PRESETS
from ds4d.runs import RunFolder, RunRecord
from ds4d.weights import MODELS

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


def request(path: Path, config: GenerateConfig, tmp_path: Path, *, resume: bool = False) -> RunRequest:
    return check_request(path, tmp_path / "run", config, CPU, resume)


def noticed(path: Path, config: GenerateConfig, tmp_path: Path, *, resume: bool = False) -> tuple[RunRequest, list]:
    """The request, and the parts that were degraded."""
    notices: list = []
    with notices_to(notices.append):
        made = request(path, config, tmp_path, resume=resume)
    assert all(isinstance(notice, Degraded) for notice in notices)
    return made, [notice.part for notice in notices]


def allowing(name: str, **overrides: object) -> GenerateConfig:
    return with_overrides(PRESETS[name](), {"allow_missing_weights": True, **overrides})


def test_the_paper_preset_names_all_missing_weights(tmp_path: Path, video: Path) -> None:
    with pytest.raises(ValueError) as refusal:
        request(video, PRESETS["paper"](), tmp_path)
    searched = [f"$DS4D_WEIGHTS/{name}" for name in ("zero123plus-v1.1", "dinov2-small", "vgg16", "zero123-xl")]
    for text in (*ALL, *searched, "hf download", "--allow-missing-weights", "allow_missing_weights=True"):
        assert text in str(refusal.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"paper"}))
def test_no_other_preset_needs_weights(tmp_path: Path, video: Path, name: str) -> None:
    made, degraded = noticed(video, PRESETS[name](), tmp_path)
    assert degraded == [] == list(made.record.replaced)


def test_folders_of_views_need_no_view_generator(tmp_path: Path, sample_folder: Path) -> None:
    with pytest.raises(ValueError, match="DINOv2") as refusal:
        request(sample_folder, PRESETS["paper"](), tmp_path)
    assert "Zero123++" not in str(refusal.value)
    assert noticed(sample_folder, allowing("paper"), tmp_path)[1] == ["features", "lpips", "guidance"]


def test_weights_that_are_found_are_not_missing(tmp_path: Path, video: Path, dinov2: Path) -> None:
    with pytest.raises(ValueError, match="VGG16") as refusal:
        request(video, PRESETS["paper"](), tmp_path)
    assert "DINOv2" not in str(refusal.value)
    assert noticed(video, allowing("paper"), tmp_path)[1] == ["views", "lpips", "guidance"]


def test_missing_weights_may_be_allowed(tmp_path: Path, video: Path) -> None:
    made, degraded = noticed(video, allowing("paper"), tmp_path)
    assert (made.record.views_source, made.record.features_kind) == ("auto", "auto")
    assert degraded == ["views", "features", "lpips", "guidance"]
    resolved = made.record.resolved_config
    assert resolved.training.losses.lpips.weight == 0 == resolved.guidance.weight
    assert resolved.training.losses.mse == PRESETS["paper"]().training.losses.mse


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        ({"features.kind": "dinov2"}, "DINOv2"),
        ({"views.source": "zero123plus"}, r"Zero123\+\+"),
        ({"guidance.weight": 1.0, "guidance.model": "absent"}, "Zero123-XL"),
    ],
)
@pytest.mark.parametrize("allow", [True, None])
def test_networks_that_are_named_are_never_replaced(
    tmp_path: Path, video: Path, overrides: dict[str, object], title: str, allow: bool | None
) -> None:
    config = with_overrides(PRESETS["tiny"](), {"allow_missing_weights": allow, **overrides})
    with pytest.raises(ValueError, match=title) as refusal:
        request(video, config, tmp_path)
    assert "hf download" in str(refusal.value)


def test_lpips_as_the_only_image_loss_needs_its_weights(tmp_path: Path, video: Path) -> None:
    losses = {"l1": 0.0, "ssim": 0.0, "mask": 0.0, "lpips": 1.0}
    overrides = {f"training.losses.{name}.weight": weight for name, weight in losses.items()}
    with pytest.raises(ValueError, match="VGG16"):
        request(video, allowing("tiny", **overrides), tmp_path)


def test_losses_without_weights_are_off_in_other_presets(tmp_path: Path, video: Path) -> None:
    config = with_overrides(PRESETS["tiny"](), {"training.losses.lpips.weight": 0.1})
    assert noticed(video, config, tmp_path)[1] == ["lpips"]


def test_networks_are_used_wherever_they_are_required(tmp_path: Path, video: Path, dinov2: Path) -> None:
    """On a CPU, too, where `auto` alone would choose the filters."""
    overrides = {"allow_missing_weights": False, "views.source": "inflate", "features.kind": "auto"}
    record = request(video, with_overrides(PRESETS["tiny"](), overrides), tmp_path).record
    assert record.features_kind == "dinov2"
    assert record.resolved_config.features.kind == "dinov2" and record.config.features.kind == "auto"


def test_a_run_goes_on_with_the_losses_it_began_with(
    tmp_path: Path, video: Path, save_outline: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left out stays so where the weights are found, and is reported again."""
    config = allowing("paper")
    begun = request(video, config, tmp_path).record
    RunFolder(tmp_path / "run").open(replace(begun, views_source="inflate", features_kind="filters"))
    for model in MODELS.values():
        save_outline(model, tmp_path / "weights" / model.name)
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path / "weights"))
    # The option is not repeated, and would not be needed here.
    made, degraded = noticed(video, PRESETS["paper"](), tmp_path, resume=True)
    assert degraded == ["views", "features", "lpips", "guidance"]
    resolved = made.record.resolved_config
    assert (resolved.views.source, resolved.features.kind) == ("inflate", "filters")
    assert resolved.training.losses.lpips.weight == 0 == resolved.guidance.weight


@pytest.mark.parametrize("features", ["filters", "dinov2"])
def test_a_run_goes_on_with_the_features_it_began_with(
    tmp_path: Path, video: Path, dinov2: Path, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever `auto` would choose where it goes on; a network that is missing there is refused."""
    config = with_overrides(PRESETS["tiny"](), {"features.kind": "auto"})
    begun = request(video, config, tmp_path).record
    RunFolder(tmp_path / "run").open(replace(begun, views_source="inflate", features_kind=features))
    resumed = request(video, config, tmp_path, resume=True).record
    assert resumed.config.features.kind == "auto" and resumed.resolved_config.features.kind == features
    monkeypatch.delenv("DS4D_WEIGHTS")
    if features == "dinov2":
        with pytest.raises(ValueError, match="DINOv2"):
            request(video, config, tmp_path, resume=True)
    else:
        assert request(video, config, tmp_path, resume=True).record.resolved_config.features.kind == "filters"


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
