"""Finding models: the order of the places, what makes a folder whole, and what is said of one that is not."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.weights import MODELS, faults, find_model, model_files, places, require_model, weights_digest

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
    """The folder of a repository's only version, as the hub's cache lays it out."""
    base = hub / f"models--{repository.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("0123abc")
    return base / "snapshots" / "0123abc"


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_folder_has_no_faults_and_an_empty_one_lacks_each_part(
    save_outline: Callable, tmp_path: Path, name: str
) -> None:
    model = MODELS[name]
    assert faults(model, save_outline(model, tmp_path / "whole")) == []
    assert find_model(model, tmp_path / "whole") == tmp_path / "whole"
    lacking = faults(model, tmp_path / "nothing")
    assert len(lacking) >= len(model.parts) and all(fault.startswith("no ") for fault in lacking)
    assert find_model(model, tmp_path / "nothing") is None


def test_a_named_folder_comes_before_the_variable_and_that_before_the_cache(
    save_outline: Callable, tmp_path: Path, root: Path, hub: Path
) -> None:
    assert find_model(DINO) is None
    cached = save_outline(DINO, snapshot(hub, "facebook/dinov2-small"))
    assert find_model(DINO) == cached
    own = save_outline(DINO, root / "dinov2-small")
    assert find_model(DINO) == own
    assert find_model(DINO, save_outline(DINO, tmp_path / "given")) == tmp_path / "given"
    assert find_model(DINO, tmp_path / "absent") is None  # a named folder is not exchanged for another silently


def test_a_folder_that_is_not_whole_makes_way_for_the_next_place(save_outline: Callable, root: Path, hub: Path) -> None:
    save_outline(XL, root / XL.name)
    (root / XL.name / "unet" / "config.json").unlink()
    assert find_model(XL) is None
    cached = save_outline(XL, snapshot(hub, XL.source))
    assert find_model(XL) == cached


@pytest.mark.parametrize("part", [part for part in PLUS.parts if part.folder], ids=lambda part: part.folder)
def test_what_a_folder_lacks_is_named_with_the_mend(save_outline: Callable, tmp_path: Path, part) -> None:
    folder = save_outline(PLUS, tmp_path / "plus")
    for name in (part.settings, *part.files, *part.weights[:1]):
        file = folder / part.folder / name
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(ValueError, match=rf"Zero123\+\+ v1.1 .* got no {part.folder}/{name} in {folder}\. .*"
            r"hf download sudo-ai/zero123plus-v1.1 --local-dir FOLDER; then name that folder"):  # fmt: skip
            require_model(PLUS, folder)
        file.write_bytes(content)
    assert require_model(PLUS, folder) == folder


def test_another_models_folder_is_named(save_outline: Callable, tmp_path: Path) -> None:
    folder = save_outline(XL, tmp_path / "model")
    with pytest.raises(ValueError, match="got another model, whose model_index.json must say _class_name "
        f"Zero123PlusPipeline, got 'Zero123Pipeline', in {folder}"):  # fmt: skip
        require_model(PLUS, folder)
    base = save_outline(MODELS["dinov2-base"], tmp_path / "base")
    assert faults(DINO, base) == ["another model, whose config.json must say hidden_size 384, got 768,"]


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_settings_that_are_no_json_object_are_named(save_outline: Callable, tmp_path: Path, text: str) -> None:
    folder = save_outline(PLUS, tmp_path)
    (folder / "unet" / "config.json").write_text(text)
    assert faults(PLUS, folder) == ["a unet/config.json that is no json object"]


def test_where_nothing_is_every_place_is_named(root: Path, hub: Path) -> None:
    with pytest.raises(ValueError) as caught:
        require_model(DINO)
    cached = hub / "models--facebook--dinov2-small"
    assert f"got no config.json in {root / DINO.name}; and no config.json in {cached}." in str(caught.value)


def test_without_any_place_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["matting"]
    assert places(model) == []
    with pytest.raises(ValueError, match=r"\$DS4D_WEIGHTS/matting, got none of them.*put one \.onnx file into FOLDER"):
        require_model(model)


def test_pickled_weights_do_where_there_are_no_safetensors(save_outline: Callable, tmp_path: Path) -> None:
    folder = save_outline(XL, tmp_path)
    safe, pickled = (folder / "unet" / f"diffusion_pytorch_model.{suffix}" for suffix in ("safetensors", "bin"))
    pickled.write_bytes(b"pickled")
    assert safe in model_files(XL, folder) and pickled not in model_files(XL, folder)
    safe.unlink()
    assert faults(XL, folder) == [] and pickled in model_files(XL, folder)


def test_half_precision_variants_do_where_there_is_nothing_else(save_outline: Callable, tmp_path: Path) -> None:
    """As diffusers and transformers name them; some public folders hold no others."""
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
            assert faults(XL, folder) == [] and half in model_files(XL, folder)
            half.unlink()
        assert faults(XL, folder) == [f"no {part}/{whole}.safetensors"]
        full.write_bytes(b"full")


def test_half_precision_variants_are_found_in_the_cache(save_outline: Callable, root: Path, hub: Path) -> None:
    cached = save_outline(XL, snapshot(hub, XL.source))
    for path in list(cached.rglob("*.safetensors")):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert find_model(XL) == cached


def test_a_model_of_one_file_is_given_as_file_or_folder(tmp_path: Path) -> None:
    model = MODELS["matting"]
    for name in ("u2net.onnx", "notes.txt"):
        (tmp_path / name).write_bytes(b"1")
    assert model_files(model, require_model(model, tmp_path)) == [tmp_path / "u2net.onnx"]
    assert require_model(model, tmp_path / "u2net.onnx") == tmp_path / "u2net.onnx"
    assert model_files(model, tmp_path / "u2net.onnx") == [tmp_path / "u2net.onnx"]
    assert find_model(model, tmp_path / "notes.txt") is None


def test_a_variable_of_its_own_comes_before_the_common_folder(
    save_outline: Callable, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS["matting"]
    common = save_outline(model, root / "matting")
    assert find_model(model) == common
    own = tmp_path / "own.onnx"
    own.write_bytes(b"1")
    monkeypatch.setenv("DS4D_MATTING_MODEL", str(own))
    assert find_model(model) == own
    assert [place.name for place in places(model)] == ["DS4D_MATTING_MODEL", "DS4D_WEIGHTS"]


def test_what_a_package_ships_is_found_without_importing_it() -> None:
    pytest.importorskip("torchmetrics", reason="needs torchmetrics (pip install 'ds4d[eval]')")
    folder = find_model(MODELS["lpips-vgg"])
    assert folder and (folder / "vgg.pth").is_file()
    assert find_model(replace(MODELS["lpips-vgg"], package=("no_such_package", "x"))) is None


def test_the_digest_reads_unchanged_files_once(
    save_outline: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    folder = save_outline(DINO, tmp_path / "model")
    weights = folder / "model.safetensors"
    minute_ago = time.time_ns() - 60 * 10**9
    for path in (folder / "config.json", weights):
        os.utime(path, ns=(minute_ago, minute_ago))
    digest = weights_digest(DINO, folder)
    weights.write_bytes(bytes(weights.stat().st_size))
    os.utime(weights, ns=(minute_ago, minute_ago))
    assert weights_digest(DINO, folder) == digest, "the cached digest is used"
    os.utime(weights, ns=(minute_ago, minute_ago + 1))
    assert weights_digest(DINO, folder) != digest, "the file is read again"


def test_the_digest_of_a_file_that_was_just_written_is_not_cached(
    save_outline: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change again without another modification time."""
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    weights_digest(DINO, save_outline(DINO, tmp_path / "model"))
    assert not (tmp_path / "cache").exists()


def test_the_digest_is_of_all_files_in_their_order(save_outline: Callable, tmp_path: Path) -> None:
    folder = save_outline(DINO, tmp_path)
    settings, weights = (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes()
    assert weights_digest(DINO, folder) == hashlib.sha256(settings + weights).hexdigest()
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_size": 384, "more": 1}))
    assert weights_digest(DINO, folder) != hashlib.sha256(settings + weights).hexdigest()
