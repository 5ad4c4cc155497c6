"""Search for models: order of the search paths, completeness, and errors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.weights import MODELS, find_model, model_files, problems, require_model, search_paths

XL = MODELS["zero123-xl"]
PLUS = MODELS["zero123plus-v1.1"]
DINO = MODELS["dinov2-small"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder $DS4D_WEIGHTS."""
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hugging Face cache, empty."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(hub: Path, repository: str) -> Path:
    """The folder of a repository's only version in the hub's cache."""
    base = hub / f"models--{repository.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("0123abc")
    return base / "snapshots" / "0123abc"


@pytest.mark.parametrize("name", MODELS)
def test_complete_folder_has_no_problems_and_empty_one_has_all(
    save_outline: Callable, tmp_path: Path, name: str
) -> None:
    model = MODELS[name]
    assert problems(model, save_outline(model, tmp_path / "complete")) == []
    assert find_model(model, tmp_path / "complete") == tmp_path / "complete"
    missing = problems(model, tmp_path / "nothing")
    assert len(missing) >= len(model.parts) and all("missing" in problem for problem in missing)
    assert find_model(model, tmp_path / "nothing") is None


def test_given_folder_then_variable_then_cache(save_outline: Callable, tmp_path: Path, root: Path, hub: Path) -> None:
    assert find_model(DINO) is None
    cached = save_outline(DINO, snapshot(hub, "facebook/dinov2-small"))
    assert find_model(DINO) == cached
    own = save_outline(DINO, root / "dinov2-small")
    assert find_model(DINO) == own
    assert find_model(DINO, save_outline(DINO, tmp_path / "given")) == tmp_path / "given"
    assert find_model(DINO, tmp_path / "absent") is None  # a given folder is the only search path


def test_incomplete_folders_are_skipped(save_outline: Callable, root: Path, hub: Path) -> None:
    save_outline(XL, root / XL.name)
    (root / XL.name / "unet" / "config.json").unlink()
    assert find_model(XL) is None
    cached = save_outline(XL, snapshot(hub, XL.source))
    assert find_model(XL) == cached


@pytest.mark.parametrize("part", [part for part in PLUS.parts if part.folder], ids=lambda part: part.folder)
def test_missing_files_raise(save_outline: Callable, tmp_path: Path, part) -> None:
    folder = save_outline(PLUS, tmp_path / "plus")
    for name in (part.settings, *part.files, *part.weights[:1]):
        file = folder / part.folder / name
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(ValueError, match=f"{folder}: {part.folder}/{name}.*hf download sudo-ai/zero123plus-v1.1"):
            require_model(PLUS, folder)
        file.write_bytes(content)
    assert require_model(PLUS, folder) == folder


def test_folder_of_another_model_raises(save_outline: Callable, tmp_path: Path) -> None:
    folder = save_outline(XL, tmp_path / "model")
    with pytest.raises(ValueError, match=f"{folder}.*_class_name must be Zero123PlusPipeline, got 'Zero123Pipeline'"):
        require_model(PLUS, folder)
    base = save_outline(MODELS["dinov2-base"], tmp_path / "base")
    assert problems(DINO, base) == ["config.json is of another model: hidden_size must be 384, got 768"]


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_settings_must_be_a_json_object(save_outline: Callable, tmp_path: Path, text: str) -> None:
    folder = save_outline(PLUS, tmp_path)
    (folder / "unet" / "config.json").write_text(text)
    assert problems(PLUS, folder) == ["unet/config.json is no JSON object"]


def test_error_names_every_search_path(root: Path, hub: Path) -> None:
    with pytest.raises(ValueError) as caught:
        require_model(DINO)
    cached = hub / "models--facebook--dinov2-small"
    assert all(f"{path}: config.json is missing" in str(caught.value) for path in (root / DINO.name, cached))


def test_error_without_search_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["i3d"]
    assert search_paths(model) == []
    with pytest.raises(ValueError, match=r"DS4D_WEIGHTS/i3d.*into FOLDER"):
        require_model(model)


def test_pickled_weights_are_used_without_safetensors(save_outline: Callable, tmp_path: Path) -> None:
    folder = save_outline(XL, tmp_path)
    safe, pickled = (folder / "unet" / f"diffusion_pytorch_model.{suffix}" for suffix in ("safetensors", "bin"))
    pickled.write_bytes(b"pickled")
    assert safe in model_files(XL, folder) and pickled not in model_files(XL, folder)
    safe.unlink()
    assert problems(XL, folder) == [] and pickled in model_files(XL, folder)


def test_half_precision_variants_are_used_without_others(save_outline: Callable, tmp_path: Path) -> None:
    folder = save_outline(XL, tmp_path)
    for part, whole in (("unet", "diffusion_pytorch_model"), ("image_encoder", "model")):
        for suffix in ("safetensors", "bin"):
            stem = "pytorch_model" if (part, suffix) == ("image_encoder", "bin") else whole
            half = folder / part / f"{stem}.fp16.{suffix}"
            half.write_bytes(b"half")
            full = folder / part / f"{whole}.safetensors"
            if full.exists():
                assert full in model_files(XL, folder) and half not in model_files(XL, folder)
                full.unlink()
            assert problems(XL, folder) == [] and half in model_files(XL, folder)
            half.unlink()
        assert problems(XL, folder) == [f"{part}/{whole}.safetensors is missing"]
        full.write_bytes(b"full")


def test_half_precision_variants_in_the_cache(save_outline: Callable, root: Path, hub: Path) -> None:
    cached = save_outline(XL, snapshot(hub, XL.source))
    for path in list(cached.rglob("*.safetensors")):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert find_model(XL) == cached


def test_single_file_model_as_file_or_folder(tmp_path: Path) -> None:
    model = MODELS["matting"]
    for name in ("u2net.onnx", "notes.txt"):
        (tmp_path / name).write_bytes(b"1")
    assert model_files(model, require_model(model, tmp_path)) == [tmp_path / "u2net.onnx"]
    assert require_model(model, tmp_path / "u2net.onnx") == tmp_path / "u2net.onnx"
    assert model_files(model, tmp_path / "u2net.onnx") == [tmp_path / "u2net.onnx"]
    assert find_model(model, tmp_path / "notes.txt") is None


def test_own_variable_comes_first(
    save_outline: Callable, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS["matting"]
    common = save_outline(model, root / "matting")
    assert find_model(model) == common
    own = tmp_path / "own.onnx"
    own.write_bytes(b"1")
    monkeypatch.setenv("DS4D_MATTING_MODEL", str(own))
    assert find_model(model) == own
    assert [found.name for found in search_paths(model)] == ["DS4D_MATTING_MODEL", "DS4D_WEIGHTS", "downloaded"]


def test_model_in_an_installed_package() -> None:
    pytest.importorskip("torchmetrics", reason="needs torchmetrics (pip install '.[eval]')")
    folder = find_model(MODELS["lpips-vgg"])
    assert folder and (folder / "vgg.pth").is_file()
    assert find_model(replace(MODELS["lpips-vgg"], package=("no_such_package", "x"))) is None
