"""Loading of models: tiny networks saved by their libraries, and files that are damaged or contain code."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ds4d.weights import MODELS, load_part, read_settings, read_shapes, read_tensors, weights_file

diffusers = pytest.importorskip("diffusers", reason="needs diffusers (pip install '.[priors]')")

VAE = MODELS["zero123-xl"].part("vae")
SCHEDULER = MODELS["zero123-xl"].part("scheduler")


@pytest.fixture(params=VAE.weights)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with two parts, for each kind of weights file."""
    settings = {"block_out_channels": (8,), "norm_num_groups": 4, "latent_channels": 2}
    vae, variant = diffusers.AutoencoderKL(**settings), "fp16" if ".fp16." in request.param else None
    if variant:
        vae.half()
    safe = request.param.endswith("safetensors")
    vae.save_pretrained(tmp_path / "vae", safe_serialization=safe, variant=variant)
    assert (tmp_path / "vae" / request.param).is_file()
    diffusers.DDIMScheduler(num_train_timesteps=123).save_pretrained(tmp_path / "scheduler")
    return tmp_path


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_networks_are_loaded_frozen_in_the_requested_dtype(folder: Path) -> None:
    for dtype in (torch.float32, torch.float16):
        network = load_part(VAE, folder, dtype=dtype)
        assert isinstance(network, diffusers.AutoencoderKL) and not network.training
        assert {parameter.dtype for parameter in network.parameters()} == {dtype}
        assert not any(parameter.requires_grad for parameter in network.parameters())
    saved = weights_file(VAE, folder)
    again = {name: value.half() for name, value in read_tensors(saved).items()}
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())


def test_full_precision_comes_before_half(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    for name in reversed(VAE.weights):
        (tmp_path / "vae" / name).touch()
        assert weights_file(VAE, tmp_path) == tmp_path / "vae" / name
    stem = "diffusion_pytorch_model"
    assert VAE.weights == (f"{stem}.safetensors", f"{stem}.bin", f"{stem}.fp16.safetensors", f"{stem}.fp16.bin")


def test_scheduler_is_loaded_from_its_settings(folder: Path) -> None:
    assert load_part(SCHEDULER, folder).config.num_train_timesteps == 123


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_truncated_weights_raise(folder: Path, fraction: float) -> None:
    path = next(path for path in (folder / "vae").iterdir() if path.suffix != ".json")
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(ValueError, match=str(path)):
        load_part(VAE, folder)


def test_weights_of_another_network_raise(folder: Path) -> None:
    path = folder / "vae" / "config.json"
    path.write_text(path.read_text().replace('"layers_per_block": 1', '"layers_per_block": 2'))
    with pytest.raises(ValueError, match="must"):
        load_part(VAE, folder)
    path.write_text(path.read_text().replace('"latent_channels": 2', '"latent_channels": 4'))
    with pytest.raises(ValueError, match=r"config\.json"):
        load_part(VAE, folder)


def test_loading_keeps_the_logging_settings(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging = diffusers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_part(VAE, folder)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr().err == ""


def test_missing_package_raises(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"no_such_package.*priors"):
        load_part(replace(SCHEDULER, loader="no_such_package.Scheduler"), tmp_path)


def test_tensors_of_both_file_formats(tmp_path: Path, generator: torch.Generator) -> None:
    tensors = {"a.weight": torch.randn(3, 2, generator=generator), "b": torch.arange(4)}
    save_file(tensors, tmp_path / "x.safetensors")
    torch.save(tensors, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        found = read_tensors(tmp_path / name)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    assert read_shapes(tmp_path / "x.safetensors") == {"a.weight": (3, 2), "b": (4,)}


def test_code_in_files_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"a": torch.zeros(1), "b": Hostile(trace)}, tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"x\.bin"):
        read_tensors(tmp_path / "x.bin")
    assert not trace.exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}])
def test_files_without_tensors_raise(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth"):
        read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_missing_file_raises(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        read_tensors(tmp_path / name)


def test_settings_must_be_a_json_object(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=str(path)):
            read_settings(path)


def test_loaders_of_all_parts_exist() -> None:
    pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    loaders = {part.loader for model in MODELS.values() for part in model.parts if part.loader}
    for loader in loaders:
        package, name = loader.split(".")
        assert hasattr(getattr(pytest.importorskip(package), name), "from_pretrained"), loader


@pytest.mark.parametrize("name", ["x.bin", "x.pth"])
def test_errors_do_not_advise_to_load_unsafely(tmp_path: Path, name: str) -> None:
    torch.save({"a": Hostile(tmp_path / "trace")}, tmp_path / name)
    with pytest.raises(ValueError) as caught:
        read_tensors(tmp_path / name)
    assert "weights_only" not in str(caught.value)


def test_compressed_weights_are_not_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "x.pth", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.pth").stat().st_size < 10**5
    with pytest.raises(ValueError, match=r"x\.pth"):
        read_tensors(tmp_path / "x.pth")


def _pickled(folder: Path) -> None:
    (weights,) = (path for path in (folder / "vae").iterdir() if path.suffix != ".json")
    torch.save({"a": Hostile(folder / "trace")}, weights)


def _setting(name: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "vae" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return change


@pytest.mark.parametrize(
    "change",
    [
        _pickled,
        _setting("layers_per_block", 10**9),
        _setting("block_out_channels", [10**9]),
        _setting("block_out_channels", [8192]),
        _setting("block_out_channels", [8] * 100_000),
        _setting("block_out_channels", "x"),
        _setting("latent_channels", "x"),
        _setting("norm_num_groups", 0),
        _setting("latent_channels", float("inf")),
    ],
)
def test_hostile_networks_are_one_error(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    with pytest.raises(ValueError, match="vae") as caught:
        load_part(VAE, folder)
    assert "weights_only" not in str(caught.value) and not (folder / "trace").exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"num_train_timesteps": 1e12}', '{"num_train_timesteps": "x"}', "[" * 9999]
)
def test_hostile_settings_are_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(text)
    with pytest.raises(ValueError, match="scheduler"):
        load_part(SCHEDULER, tmp_path)


def test_a_network_of_transformers_is_measured_before_it_is_allocated(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    part = MODELS["dinov2-small"].part("")
    settings = transformers.Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28)
    transformers.Dinov2Model(settings).save_pretrained(tmp_path)
    assert load_part(part, tmp_path).config.hidden_size == 8
    path = tmp_path / "config.json"
    good = json.loads(path.read_text())
    for change in ({"num_hidden_layers": 10**9}, {"hidden_size": 2**16}, {"hidden_size": "x"}, {"hidden_size": None}):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(ValueError, match=str(tmp_path)):
            load_part(part, tmp_path)


def test_a_damaged_tokenizer_is_one_error(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    (tmp_path / "tokenizer").mkdir()
    for name, text in (("tokenizer_config.json", "{}"), ("vocab.json", "[1]"), ("merges.txt", "\0 a b c\n" * 9)):
        (tmp_path / "tokenizer" / name).write_text(text)
    with pytest.raises(ValueError, match="tokenizer"):
        load_part(MODELS["zero123plus-v1.2"].part("tokenizer"), tmp_path)
