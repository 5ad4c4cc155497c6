"""Zero123++'s reference attention, and STAG4D's temporal anchor in it.

In every self-attention of the UNet, the tokens of the image grid attend to one another and to those of the condition
image, noised to the same level: a first pass over the latents of the condition stores its tokens, the pass over the
grid reads them (Zero123++, section 2.2). With the anchor, the keys and values of the grid are computed from the mean of
its tokens and those of the anchor frame (STAG4D, section 3.1), which keeps the views of all frames similar.

Batches have length 2 B: B frames without their condition, then the same with it.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_SELF_ATTENTION = "attn1.processor"  # end of its name in diffusers' UNets; attn2 is cross-attention


class ReferenceUnet:
    """A UNet with reference attention.

    The anchor is the first frame of the first batch after `start_step`. Only its tokens of the current step are kept.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        anchored: whether frames attend to the anchor.
    """

    def __init__(self, unet: Any, *, anchored: bool) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self.unet = unet
        self._layers = [
            _ReferenceAttention(anchored) for name in unet.attn_processors if name.endswith(_SELF_ATTENTION)
        ]
        layers = iter(self._layers)
        unet.set_attn_processor(
            {
                name: next(layers) if name.endswith(_SELF_ATTENTION) else AttnProcessor2_0()
                for name in unet.attn_processors
            }
        )

    def start_step(self) -> None:
        """Resets the anchor: the next frame becomes the new one."""
        for layer in self._layers:
            layer.anchor = None

    def __call__(
        self,
        grids: Float[Tensor, "B2 C h w"],
        references: Float[Tensor, "B2 C y x"],
        timestep: Tensor,
        embeddings: Float[Tensor, "B2 tokens D"],
    ) -> Float[Tensor, "B2 C h w"]:
        """Output of the UNet for the grids.

        Args:
            grids: noised latents, scaled by the scheduler.
            references: latents of the condition images, noised and scaled likewise.
            timestep: timestep of the schedule.
            embeddings: keys and values of cross-attention.
        """
        for layer in self._layers:
            layer.writes = True
        self.unet(references, timestep, encoder_hidden_states=embeddings)
        for layer in self._layers:
            layer.writes = False
        return self.unet(grids, timestep, encoder_hidden_states=embeddings).sample


class _ReferenceAttention(nn.Module):
    """Attention processor of one self-attention layer."""

    def __init__(self, anchored: bool) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        super().__init__()
        self.anchored, self.writes, self._attend = anchored, True, AttnProcessor2_0()
        self.anchor: Float[Tensor, "2 1 n C"] | None = None
        self.reference: Float[Tensor, "B2 m C"] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "B2 n C"],
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "B2 n C"]:
        if self.writes:
            self.reference = hidden_states
            return self._attend(attn, hidden_states)
        assert self.reference is not None
        source = torch.cat((self._with_anchor(hidden_states), self.reference), dim=1)
        self.reference = None
        return self._attend(attn, hidden_states, source)

    def _with_anchor(self, tokens: Float[Tensor, "B2 n C"]) -> Float[Tensor, "B2 n C"]:
        if not self.anchored:
            return tokens
        halves = tokens.unflatten(0, (2, -1))
        if self.anchor is None:
            self.anchor = halves[:, :1].clone()
        return ((halves + self.anchor) / 2).flatten(0, 1)
