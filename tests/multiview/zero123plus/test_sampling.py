"""Denoising with reference attention and anchor, through a tiny UNet of the real class.

`written_out` follows the public description step by step for one frame without condition batching, with hooks where the
code has processors, and with the scheduler's formulas written down.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ds4d.multiview.zero123plus.networks import Condition, Zero123PlusNetworks
from ds4d.multiview.zero123plus.sampling import sample_grids

STEPS, HEIGHT, WIDTH = 3, 96, 64


@pytest.fixture(scope="module")
def condition(networks: Zero123PlusNetworks, shown: list) -> Condition:
    return networks.encode(shown, torch.Generator().manual_seed(1))


def sample(networks: Zero123PlusNetworks, condition: Condition, seed: int = 0, **changes: Any) -> Tensor:
    settings = {"height": HEIGHT, "width": WIDTH, "steps": STEPS, "guidance": 4.0, "anchor": 0, "batch_size": 4}
    return sample_grids(networks, condition, torch.Generator().manual_seed(seed), **{**settings, **changes})


def only(condition: Condition, *frames: int) -> Condition:
    return Condition(condition.latents[:, frames], condition.embeddings[:, frames])


def difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / first.norm())


@contextmanager
def looking_at(unet: Any, written: dict[int, Tensor], *, writes: bool) -> Iterator[None]:
    """Every self-attention writes its tokens down, or also looks at those written."""
    from diffusers.models.attention import BasicTransformerBlock

    def hook(module: Any, arguments: tuple, keywords: dict) -> tuple:
        tokens = arguments[0]
        if writes:
            written[id(module)] = tokens
            return arguments, keywords
        return arguments, {**keywords, "encoder_hidden_states": torch.cat((tokens, written[id(module)]), 1)}

    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)]
    handles = [block.attn1.register_forward_pre_hook(hook, with_kwargs=True) for block in blocks]
    yield
    for handle in handles:
        handle.remove()


@torch.no_grad()
def written_out(networks: Zero123PlusNetworks, condition: Condition, seed: int) -> Tensor:
    """The latents of the only frame's grid."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    networks.unet.set_attn_processor(AttnProcessor2_0())
    generator = torch.Generator().manual_seed(seed)
    timesteps = [999, 666, 332]  # trailing: the last of each third, counted from 0
    products = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    sigmas = [float(((1 - products[t]) / products[t]).sqrt()) for t in timesteps] + [0.0]
    x = torch.randn(1, 4, HEIGHT // 4, WIDTH // 4, generator=generator) * sigmas[0]
    steps = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    for t, sigma, following in zip(timesteps, sigmas, sigmas[1:], strict=False):
        noise = torch.randn(2, 1, *condition.latents.shape[2:], generator=generator)
        outputs = []
        for half in range(2):
            written: dict[int, Tensor] = {}
            reference = (condition.latents[half] + sigma * noise[half]) / (sigma**2 + 1) ** 0.5
            with looking_at(networks.unet, written, writes=True):
                networks.unet(reference, t, condition.embeddings[half])
            with looking_at(networks.unet, written, writes=False):
                outputs.append(networks.unet(x / (sigma**2 + 1) ** 0.5, t, condition.embeddings[half]).sample)
        v = outputs[0] + 4.0 * (outputs[1] - outputs[0])
        clean = -v * sigma / (sigma**2 + 1) ** 0.5 + x / (sigma**2 + 1)
        up = (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5
        down = (following**2 - up**2) ** 0.5
        x = x + (x - clean) / sigma * (down - sigma) + up * torch.randn(x.shape, generator=steps)
    return x


@pytest.mark.parametrize("anchor", [None, 0])
def test_the_sampler_equals_its_description(networks: Zero123PlusNetworks, condition: Condition, anchor) -> None:
    """An anchor changes nothing for a frame that is its own."""
    one = only(condition, 1)
    expected = written_out(networks, one, seed=5)
    torch.testing.assert_close(sample(networks, one, seed=5, anchor=anchor), expected, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_the_grid_depends_on_the_reference_and_the_image(networks: Zero123PlusNetworks, condition: Condition) -> None:
    grids = sample(networks, condition)
    blind = sample(networks, replace(condition, latents=torch.zeros_like(condition.latents)))
    wordless = condition.embeddings[:1].expand_as(condition.embeddings)
    assert difference(grids, blind) > 1e-3
    assert difference(grids, sample(networks, replace(condition, embeddings=wordless))) > 1e-3


@torch.no_grad()
def test_the_anchor_makes_frames_more_similar(networks: Zero123PlusNetworks, condition: Condition) -> None:
    alone, anchored = sample(networks, condition, anchor=None), sample(networks, condition, anchor=0)
    torch.testing.assert_close(anchored[0], alone[0])  # it is its own anchor
    for frame in (1, 2):
        assert difference(anchored[0], anchored[frame]) < 0.95 * difference(alone[0], alone[frame])


@torch.no_grad()
@pytest.mark.parametrize("anchor", [1, 2])
def test_any_frame_can_be_the_anchor(networks: Zero123PlusNetworks, condition: Condition, anchor: int) -> None:
    order = [anchor, *(frame for frame in range(3) if frame != anchor)]
    led = sample(networks, only(condition, *order), anchor=0)
    torch.testing.assert_close(sample(networks, condition, anchor=anchor)[order], led)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_do_not_matter(networks: Zero123PlusNetworks, condition: Condition, batch_size: int) -> None:
    together = sample(networks, condition)
    torch.testing.assert_close(sample(networks, condition, batch_size=batch_size), together, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_frames_without_an_anchor_are_independent(networks: Zero123PlusNetworks, condition: Condition) -> None:
    torch.testing.assert_close(
        sample(networks, only(condition, 0, 2))[1], sample(networks, condition)[2], atol=1e-4, rtol=1e-3
    )


@torch.no_grad()
def test_equal_frames_get_equal_noise(networks: Zero123PlusNetworks, condition: Condition) -> None:
    twins = sample(networks, only(condition, 1, 1), anchor=None)
    torch.testing.assert_close(twins[0], twins[1])


@torch.no_grad()
def test_equal_seeds_give_equal_bits(networks: Zero123PlusNetworks, condition: Condition) -> None:
    first = sample(networks, condition, seed=3)
    torch.manual_seed(99)
    assert torch.equal(sample(networks, condition, seed=3), first)
    assert difference(sample(networks, condition, seed=4), first) > 0.1


@torch.no_grad()
def test_guidance_of_1_uses_the_conditional_half_alone(networks: Zero123PlusNetworks, condition: Condition) -> None:
    other = Condition(condition.latents.clone(), condition.embeddings.clone())
    other.latents[0] += 1.0
    other.embeddings[0] -= 1.0
    torch.testing.assert_close(sample(networks, other, guidance=1.0), sample(networks, condition, guidance=1.0))
    assert difference(sample(networks, other), sample(networks, condition)) > 1e-3


@torch.no_grad()
def test_tokens_of_the_anchor_are_kept_for_one_step(networks: Zero123PlusNetworks, condition: Condition) -> None:
    sample(networks, condition)
    layers = [each for name, each in networks.unet.attn_processors.items() if name.endswith("attn1.processor")]
    assert len(layers) == 4
    kept = sum(layer.anchor.numel() for layer in layers)
    tokens, channels = (HEIGHT // 8) * (WIDTH // 8), 8
    # Two halves; three layers at half the size, and the middle one at a quarter of it with twice the channels.
    assert kept == 2 * (3 * tokens * channels + tokens // 4 * 2 * channels)
    assert all(layer.reference is None for layer in layers)


class Cramped(torch.nn.Module):
    """A UNet on a device that has room for so many images."""

    def __init__(self, unet: Any, room: int) -> None:
        super().__init__()
        self.unet, self.room, self.batches = unet, room, []
        self.set_attn_processor = unet.set_attn_processor

    @property
    def attn_processors(self) -> dict[str, Any]:
        return self.unet.attn_processors

    def forward(self, images: Tensor, *others: Any, **more: Any) -> Any:
        self.batches.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("no room")
        return self.unet(images, *others, **more)


@torch.no_grad()
def test_batches_are_halved_when_memory_is_short(
    networks: Zero123PlusNetworks, condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sample(networks, condition)
    cramped = Cramped(networks.unet, room=2)
    monkeypatch.setattr(networks, "unet", cramped)
    torch.testing.assert_close(sample(networks, condition), expected, atol=1e-4, rtol=1e-3)
    assert cramped.batches[:2] == [6, 4] and set(cramped.batches[2:]) == {2}
    cramped.room = 1
    with pytest.raises(torch.OutOfMemoryError):
        sample(networks, condition)
