"""The object's own colour near its outline, where pixels mix it with what lies behind."""

import numpy as np
import torch
from jaxtyping import Bool, Float

_REACH = 4  # pixels over which the colour of the object's inside is carried to its outline


def spread_inside(
    colors: Float[np.ndarray, "H W 3"], inside: Bool[np.ndarray, "H W"]
) -> tuple[Float[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The mean colour of the inside within a few pixels of every pixel, and where there is any.

    Args:
        colors: of the picture, any range.
        inside: pixels that show nothing but the object.
    """
    weights = torch.from_numpy(np.ascontiguousarray(inside))[None].float()
    pixels = torch.from_numpy(colors).movedim(-1, 0).float()
    total = _box_mean(torch.cat((pixels * weights, weights)))
    near = total[3] > 1e-4
    spread = total[:3] / total[3:].clamp_min(1e-4)
    return spread.movedim(0, -1).numpy().astype(colors.dtype), near.numpy()


def _box_mean(pixels: torch.Tensor) -> torch.Tensor:
    for kernel in ((2 * _REACH + 1, 1), (1, 2 * _REACH + 1)):
        pixels = torch.nn.functional.avg_pool2d(pixels, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    return pixels
