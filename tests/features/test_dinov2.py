"""DINOv2, tested with tiny random networks of the real classes, saved to a folder."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ds4d.features import Dinov2, Dinov2Config

transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")

PATCH, WIDTH = 14, 32
KINDS = {"plain": ("Dinov2", {}), "registers": ("Dinov2WithRegisters", {"num_register_tokens": 3})}


def save_tiny(folder: Path, kind: str = "plain", **changes: Any) -> Path:
    """Saves a random network of the real class, whose features depend strongly on the images."""
    name, extra = KINDS[kind]
    settings = {
        "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2, "patch_size": PATCH,
        "image_size": 5 * PATCH, "initializer_range": 0.2,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**{**settings, **extra, **changes})
    torch.manual_seed(0)
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("networks") / request.param, request.param)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A saved network that a test may damage."""
    return save_tiny(tmp_path / "network")


def edit_settings(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def load(folder: Path, tokens: int = 6, batch_size: int = 8) -> Dinov2:
    return Dinov2(Dinov2Config(model=str(folder), tokens=tokens, batch_size=batch_size))


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(64, 64, (6, 6)), (50, 100, (3, 6)), (96, 32, (6, 2)), (10, 300, (1, 6))]
)
def test_map_has_the_aspect_ratio_of_images(folder: Path, height: int, width: int, expected: tuple[int, int]) -> None:
    network = load(folder)
    maps = network(torch.rand(2, 3, 3, height, width))
    assert maps.shape == (2, 3, WIDTH, *expected)
    assert maps.dtype == torch.float32 and maps.isfinite().all()
    assert (network.channels, network.stride) == (WIDTH, PATCH)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 5), (3, 0), (3, 5)])
def test_changed_pixels_change_their_token_most(folder: Path, row: int, column: int) -> None:
    dark = torch.zeros(3, 40, 60)
    lit = dark.clone()
    lit[:, 10 * row : 10 * row + 10, 10 * column : 10 * column + 10] = 1.0
    network = load(folder)
    changes = (network(lit) - network(dark)).norm(dim=0)
    assert changes.shape == (4, 6)
    assert divmod(int(changes.argmax()), 6) == (row, column)


def test_equals_the_network_called_directly(folder: Path) -> None:
    """Images of whole patches need no resizing."""
    images = torch.rand(2, 3, 4 * PATCH, 6 * PATCH)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images - mean[:, None, None]) / std[:, None, None]
    network = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        tokens = network(pixel_values=pixels).last_hidden_state
    special = 1 + getattr(network.config, "num_register_tokens", 0)
    assert tokens.shape[1] == special + 24
    expected = tokens[:, special:].reshape(2, 4, 6, WIDTH).permute(0, 3, 1, 2)
    torch.testing.assert_close(load(folder)(images), expected, atol=1e-5, rtol=1e-5)


def test_images_are_resized_with_antialiasing(folder: Path) -> None:
    image = torch.rand(1, 3, 200, 200)
    small = interpolate(image, (84, 84), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    torch.testing.assert_close(load(folder)(image), load(folder)(small), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_batches_equal_single_images(folder: Path, batch_size: int) -> None:
    images = torch.rand(5, 3, 30, 40)
    single: list[Tensor] = [load(folder)(image) for image in images]
    together = load(folder, batch_size=batch_size)(images)
    torch.testing.assert_close(together, torch.stack(single), atol=1e-5, rtol=1e-5)


def test_network_is_frozen(folder: Path) -> None:
    network = load(folder)
    assert not network.model.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network(torch.rand(3, 28, 28, requires_grad=True)).requires_grad


def test_digest_identifies_the_weights(broken: Path, tmp_path: Path) -> None:
    config = Dinov2Config(model=str(broken))
    first = Dinov2.weights_digest(config)
    assert first == Dinov2.weights_digest(config)
    same = save_tiny(tmp_path / "same")
    assert Dinov2.weights_digest(Dinov2Config(model=str(same))) == first
    weights = broken / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert Dinov2.weights_digest(config) != first


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file_raises(broken: Path, name: str) -> None:
    (broken / name).unlink()
    with pytest.raises(ValueError, match=f"{broken}: {name}.*hf download facebook/dinov2-small"):
        load(broken)


@pytest.mark.parametrize("model", ["nobody/no-such-network", "/no/such/folder"])
def test_missing_network_raises_with_the_searched_folders(model: str) -> None:
    searched = "models--nobody--no-such-network" if model.startswith("nobody") else model
    with pytest.raises(ValueError, match=rf"{searched}.*: config\.json.*hf download") as caught:
        Dinov2(Dinov2Config(model=model))
    assert model in str(caught.value)
    with pytest.raises(ValueError, match=r"config\.json"):
        Dinov2.weights_digest(Dinov2Config(model=model))


def test_other_architecture_raises(tmp_path: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=28,
        patch_size=14,
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model_type.*vit"):
        load(tmp_path)


def test_settings_that_are_no_json_raise(broken: Path) -> None:
    (broken / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        load(broken)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_raise(broken: Path, fraction: float) -> None:
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(ValueError, match=str(path)):
        load(broken)


def test_hidden_size_must_be_that_of_the_weights(broken: Path) -> None:
    edit_settings(broken, hidden_size=48)
    with pytest.raises(ValueError, match=r"hidden_size.*48 and 32"):
        load(broken)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"num_hidden_layers": 3}, "layer.2"), ({"mlp_ratio": 4}, "weights")],
)
def test_weights_of_another_network_raise(broken: Path, changes: dict[str, Any], named: str) -> None:
    edit_settings(broken, **changes)
    with pytest.raises(ValueError, match=named):
        load(broken)


def test_loading_keeps_the_logging_settings(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(folder)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr().err == ""


def test_missing_transformers_raises(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="priors"):
        load(folder)


@pytest.mark.parametrize(("name", "value"), [("tokens", 0), ("tokens", 257), ("batch_size", 0)])
def test_settings_outside_their_ranges_raise(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        Dinov2Config(**{name: value})
