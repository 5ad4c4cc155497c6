from pathlib import Path

import pytest
import torch

from ds4d.lift_training.average import AverageSettings, main
from ds4d.multiview.lift.checkpoint import read_network, save_network
from ds4d.multiview.lift.network import LiftNetwork, NetworkConfig

TINY = {"size": 32, "half_channels": 8, "quarter_channels": 8, "width": 32, "depth": 1, "head_width": 32}


def network(path: Path, value: float, *, images: int, **config: int) -> str:
    made = LiftNetwork(NetworkConfig(**{**TINY, **config}))
    for parameter in made.parameters():
        torch.nn.init.constant_(parameter, value)
    save_network(path, made, {"images": images, "runs": [{"images": 3}, {"images": images}]})
    return str(path)


def test_the_average_has_the_mean_weights_and_every_run_once(tmp_path: Path) -> None:
    files = [network(tmp_path / f"{value}.safetensors", value, images=value) for value in (1, 4, 7)]
    assert main(["--networks", *files, "--out", str(tmp_path / "mean.safetensors")]) == 0
    found = read_network(tmp_path / "mean.safetensors")
    assert all((parameter == 4).all() for parameter in found.network.parameters())
    *runs, merged = found.card["runs"]
    assert [run["images"] for run in runs] == [3, 1, 4, 7] and found.card["images"] == merged["images"] == 7
    assert merged["average_of"] == [read_network(Path(file)).sha256 for file in files]


def test_weights_in_8_bits_are_close_and_half_as_large(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = LiftNetwork(NetworkConfig(**{**TINY, "width": 64}))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    save_network(tmp_path / "a.safetensors", made, {"images": 1})
    assert (
        main(["--networks", str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "b.safetensors"), "--int8"]) == 0
    )
    sizes = [(tmp_path / name).stat().st_size for name in ("a.safetensors", "b.safetensors")]
    assert sizes[1] < 0.7 * sizes[0]
    found = read_network(tmp_path / "b.safetensors").network.state_dict()
    for name, value in made.state_dict().items():
        largest = value.abs().flatten(1).amax(1) if value.ndim > 1 else value.abs()
        error = (found[name] - value).abs()
        assert ((error.flatten(1).amax(1) if value.ndim > 1 else error) <= 0.0051 * largest + 1e-6).all(), name


def test_what_cannot_be_averaged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, out = network(tmp_path / "a.safetensors", 1, images=1), str(tmp_path / "out.safetensors")
    deeper = network(tmp_path / "b.safetensors", 1, images=1, depth=2)
    for networks, name in (([one, deeper], "b.safetensors"), ([one, "none"], "none")):
        assert main(["--networks", *networks, "--out", out]) == 1
        assert name in capsys.readouterr().err
    assert not Path(out).exists()
    with pytest.raises(ValueError, match="networks"):
        AverageSettings((Path(one),), Path(out))
