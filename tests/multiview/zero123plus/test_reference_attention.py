"""What a layer looks at, token by token."""

import pytest
import torch

from ds4d.multiview.zero123plus.reference_attention import ReferenceUnet

diffusers = pytest.importorskip("diffusers", reason="needs diffusers (pip install '.[priors]')")

B, N, M, C = 2, 6, 5, 8


class OneLayer(torch.nn.Module):
    """A network that is one self-attention."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers.models.attention_processor import Attention

        self.attn1 = Attention(C, heads=2, dim_head=4)

    @property
    def attn_processors(self) -> dict:
        return {"attn1.processor": self.attn1.processor}

    def set_attn_processor(self, processors: dict) -> None:
        self.attn1.set_processor(processors["attn1.processor"])

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor):
        found = self.attn1(sample.flatten(2).mT)
        return type("Output", (), {"sample": found.mT.unflatten(2, sample.shape[2:])})()


def attention(layer: OneLayer, tokens: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Softmax attention of the layer's own weights, written out, one head after the other."""
    weights = layer.attn1
    q, k, v = weights.to_q(tokens), weights.to_k(source), weights.to_v(source)
    heads = [
        torch.softmax(q[..., part] @ k[..., part].mT / 2.0, -1) @ v[..., part] for part in (slice(0, 4), slice(4, 8))
    ]
    return weights.to_out[0](torch.cat(heads, -1))


@torch.no_grad()
@pytest.mark.parametrize("anchored", [False, True])
def test_keys_and_values_are_those_of_the_reference_and_the_mean_with_the_anchor(
    anchored: bool, generator: torch.Generator
) -> None:
    layer = OneLayer()
    unet = ReferenceUnet(layer, anchored=anchored)
    time, text = torch.tensor(0.0), torch.zeros(2 * B, 1, C)
    unet.start_step()
    anchor = None
    for _ in range(2):  # two batches of one step: the first frame of the first one is the anchor of both
        grids = torch.randn(2 * B, C, N, 1, generator=generator)
        references = torch.randn(2 * B, C, M, 1, generator=generator)
        found = unet(grids, references, time, text)[..., 0].mT
        tokens, written = grids[..., 0].mT, references[..., 0].mT
        anchor = tokens.unflatten(0, (2, B))[:, :1] if anchor is None else anchor
        looked_at = ((tokens.unflatten(0, (2, B)) + anchor) / 2).flatten(0, 1) if anchored else tokens
        expected = attention(layer, tokens, torch.cat((looked_at, written), 1))
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_each_step_has_its_own_anchor(generator: torch.Generator) -> None:
    layer = OneLayer()
    unet = ReferenceUnet(layer, anchored=True)
    first, second, references = (torch.randn(2, C, N, 1, generator=generator) for _ in range(3))
    time, text = torch.tensor(0.0), torch.zeros(2, 1, C)
    unet.start_step()
    unet(first, references, time, text)
    led = unet(second, references, time, text)
    unet.start_step()
    alone = unet(second, references, time, text)
    assert not torch.allclose(led, alone)
    looked_at = torch.cat((second, references), 2)[..., 0].mT
    torch.testing.assert_close(alone[..., 0].mT, attention(layer, second[..., 0].mT, looked_at))


def test_the_anchor_of_the_real_network_takes_a_tenth_of_a_gigabyte() -> None:
    with torch.device("meta"):  # shapes without numbers
        network = diffusers.UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        )
        unet = ReferenceUnet(network, anchored=True)
        unet.start_step()
        unet(torch.zeros(2, 4, 120, 80), torch.zeros(2, 4, 64, 64), torch.tensor(1.0), torch.zeros(2, 77, 1024))
    layers = [each for name, each in network.attn_processors.items() if name.endswith("attn1.processor")]
    assert len(layers) == 16
    sizes = {tuple(layer.anchor.shape[2:]) for layer in layers}
    assert sizes == {(9600, 320), (2400, 640), (600, 1280), (150, 1280)}
    assert sum(2 * layer.anchor.numel() for layer in layers) == pytest.approx(
        0.108e9, rel=0.01
    )  # bytes, half precision
