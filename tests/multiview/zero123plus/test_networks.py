"""What the networks make of images, against the same networks called directly."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.multiview.zero123plus.networks import Zero123PlusNetworks
from ds4d.weights import MODELS, read_tensors, weights_file

MODEL = MODELS["zero123plus-v1.1"]


@torch.no_grad()
def test_frames_become_latents_and_ramped_embeddings(networks: Zero123PlusNetworks, shown: list) -> None:
    condition = networks.encode(shown, torch.Generator().manual_seed(0))
    assert condition.latents.shape == (2, 3, 4, 8, 8) and condition.embeddings.shape == (2, 3, 7, 16)
    text = networks.text_encoder(torch.tensor([[2, 3, 0, 0, 0, 0, 0]])).last_hidden_state[0]  # start, end, padding
    pixels = networks.for_vision(images=shown[1], return_tensors="pt").pixel_values
    image = networks.vision_encoder(pixels).image_embeds[0]
    torch.testing.assert_close(condition.embeddings[0], text.expand(3, -1, -1))
    for place in range(7):
        torch.testing.assert_close(condition.embeddings[1, 1, place], text[place] + 0.1 * place * image)


@torch.no_grad()
def test_latents_have_the_same_noise_and_no_scale(networks: Zero123PlusNetworks, shown: list) -> None:
    plain = np.full((64, 64, 3), (20, 90, 200), np.uint8)
    condition = networks.encode([shown[0], shown[0], plain], torch.Generator().manual_seed(0))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor([(value / 255 - 0.5) / 0.8 for value in (20, 90, 200)])[:, None, None].expand(1, 3, 32, 32)
    posterior = networks.vae.encode(pixels).latent_dist
    torch.testing.assert_close(condition.latents[1, 2], (posterior.mean + posterior.std * noise)[0])
    assert torch.equal(condition.latents[1, 0], condition.latents[1, 1])
    nothing = networks.vae.encode(torch.zeros(1, 3, 32, 32)).latent_dist
    torch.testing.assert_close(condition.latents[0], (nothing.mean + nothing.std * noise).expand(3, -1, -1, -1))


@torch.no_grad()
def test_sheets_come_back_from_where_the_authors_moved_them(networks: Zero123PlusNetworks) -> None:
    """Of images: x 2 - 1, x 0.5 / 0.8. Of latents: x 0.18215, - 0.22, x 0.75. Decoding undoes both."""
    latents = torch.randn(2, 4, 6, 4, generator=torch.Generator().manual_seed(0))
    scaled = (0.18215 * latents - 0.22) * 0.75
    first, second = networks.decode(scaled)
    assert first.shape == (3, 24, 16)
    expected = networks.vae.decode(latents).sample
    torch.testing.assert_close(second * 2 - 1, (expected[1] * 0.8 / 0.5).clamp(-1, 1), atol=1e-5, rtol=1e-4)


def test_the_schedule_ends_on_the_last_timestep(networks: Zero123PlusNetworks) -> None:
    networks.scheduler.set_timesteps(5)
    assert networks.scheduler.timesteps.tolist() == [999, 799, 599, 399, 199]


class Traveller:
    """A network that remembers where it was sent."""

    def __init__(self) -> None:
        self.trips: list[str] = []

    def to(self, device: torch.device | str) -> None:
        self.trips.append(str(device))


@pytest.mark.parametrize(("offload", "trips"), [(False, ["meta"]), (True, ["meta", "cpu"])])
def test_networks_are_on_the_device_while_they_work(tiny_zero123plus: Path, offload: bool, trips: list[str]) -> None:
    networks = Zero123PlusNetworks(MODEL, tiny_zero123plus, torch.device("meta"), dtype=torch.float16, offload=offload)
    assert networks.unet.dtype == networks.vae.dtype == networks.text_encoder.dtype == torch.float16
    traveller = Traveller()
    with networks.on_device(traveller):
        assert traveller.trips == ["meta"]
    assert traveller.trips == trips


def test_a_ramp_of_another_length_is_named(tiny_zero123plus: Path, tmp_path: Path, shown: list) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_zero123plus, folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "ramping_coefficients": [0.0] * 77}))
    networks = Zero123PlusNetworks(MODEL, folder, torch.device("cpu"), dtype=torch.float32, offload=False)
    with torch.no_grad(), pytest.raises(ValueError, match=f"ramping_coefficients of {index} must .* got 77 for 7"):
        networks.encode(shown, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("part", ["unet", "vae", "vision_encoder", "text_encoder"])
def test_a_damaged_network_is_named(tiny_zero123plus: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_zero123plus, folder)
    path = next((folder / part).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{path} must .*safetensors"):
        Zero123PlusNetworks(MODEL, folder, torch.device("cpu"), dtype=torch.float32, offload=False)


@torch.no_grad()
def test_pickled_weights_with_names_of_older_versions_load(
    tiny_zero123plus: Path, tmp_path: Path, networks: Zero123PlusNetworks, shown: list
) -> None:
    """As version 1.1 is published."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_zero123plus, folder)
    for name in ("unet", "vae", "vision_encoder", "text_encoder"):
        part = MODEL.part(name)
        path = weights_file(part, folder)
        pickled = path.with_name(next(each for each in part.weights if each.endswith(".bin")))
        tensors = read_tensors(path)
        if name == "text_encoder":
            tensors = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in tensors.items()}
            tensors["text_model.embeddings.position_ids"] = torch.arange(7)[None]
        path.unlink()
        torch.save(tensors, pickled)
    again = Zero123PlusNetworks(MODEL, folder, torch.device("cpu"), dtype=torch.float32, offload=False)
    first, second = (each.encode(shown, torch.Generator().manual_seed(0)) for each in (networks, again))
    assert torch.equal(first.latents, second.latents) and torch.equal(first.embeddings, second.embeddings)
    weights = again.unet.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in networks.unet.state_dict().items())
