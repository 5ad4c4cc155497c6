"""Similarity of images in CLIP (Radford et al. 2021)."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from ds4d.weights import MODELS, load_part


class ClipSimilarity(nn.Module):
    """Cosine of the image embeddings of two images, by the model's own preprocessor.

    Args:
        model: key in `ds4d.weights.MODELS`.
        folder: folder of the model: config.json, weights, preprocessor_config.json.

    Raises:
        ImportError: transformers is not installed.
        ValueError: the weights are damaged, or do not match config.json.
    """

    def __init__(self, model: str, folder: Path) -> None:
        super().__init__()
        network, preprocessor = MODELS[model].parts
        self.network = load_part(network, folder)
        self._preprocess = load_part(preprocessor, folder)

    @torch.no_grad()
    def forward(
        self, images: UInt8[np.ndarray, "T H W 3"], targets: UInt8[np.ndarray, "T H W 3"]
    ) -> Float[Tensor, " T"]:
        """One cosine in [-1, 1] per pair of images."""
        return torch.cosine_similarity(self.embed(images), self.embed(targets)).cpu()

    @torch.no_grad()
    def embed(self, images: UInt8[np.ndarray, "T H W 3"]) -> Float[Tensor, "T C"]:
        """Image embeddings, not normalized."""
        pixels = self._preprocess([Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
        device = self.network.visual_projection.weight.device
        pooled = self.network.vision_model(pixel_values=pixels.to(device)).pooler_output
        return self.network.visual_projection(pooled)
