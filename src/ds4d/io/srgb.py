"""The transfer function of sRGB, between stored colors and linear ones."""

import numpy as np
from jaxtyping import Float, Float32


def to_linear(colors: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Colors in [0, 1] from sRGB to linear."""
    dark = colors <= 0.04045
    return np.where(dark, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(colors: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Colors in [0, 1] from linear to sRGB."""
    dark = colors <= 0.0031308
    return np.where(dark, colors * 12.92, 1.055 * colors ** (1 / 2.4) - 0.055).astype(np.float32)
