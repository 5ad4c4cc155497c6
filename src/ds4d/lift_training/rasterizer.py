"""A z-buffer for surface samples: the first and the last surface along the ray of each pixel, for many images at once.

Each sample covers the 2 x 2 pixels around it, which leaves few holes, through which what is behind would be seen: these
take the sample of a neighbor. A silhouette has only the pixels that contain samples, and what these enclose. Depth and
sample index share one 32-bit key, so that one scatter-minimum finds both.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_INDEX_BITS = 15
MAX_SAMPLES = 2**_INDEX_BITS - 1
_LEVELS = 2**16 - 2  # of the quantized depth; one more key is left for empty pixels
_EMPTY = 2**31 - 1
_HOLE_NEIGHBORS = 5  # of the eight neighbors of a pixel that are nearer by
_HOLE_DEPTH = 0.012  # of the depth range, if the pixel is a hole


@dataclass(frozen=True)
class Layer:
    """One surface of each image.

    Attributes:
        samples: index of the sample that a pixel shows; 0 where it shows none.
        hit: whether a pixel shows any.
    """

    samples: Int[Tensor, "B H W"]
    hit: Bool[Tensor, "B H W"]

    def gather(self, values: Float[Tensor, "B S C"]) -> Float[Tensor, "B H W C"]:
        """The values of the samples that the pixels show."""
        rows = self.samples.flatten(1)[..., None].expand(-1, -1, values.shape[-1])
        return values.gather(1, rows).unflatten(1, self.samples.shape[1:])


def rasterize(
    pixels: Float[Tensor, "B S 2"], depths: Float[Tensor, "B S"], size: int, *, depth_range: tuple[float, float]
) -> tuple[Layer, Layer]:
    """The nearest and the farthest sample at each pixel.

    Args:
        pixels: positions in the image, pixels; the center of the first pixel is at 0.5.
        depths: depths of the samples, in any unit.
        size: height and width of the images, pixels.
        depth_range: depths from which the order of samples is told apart, to a 65,534th of the range.

    Returns:
        The front and the back.

    Raises:
        ValueError: there are more samples than an index can number.
    """
    batch, count = depths.shape
    if count > MAX_SAMPLES:
        raise ValueError(f"samples per image must be at most {MAX_SAMPLES}, got {count}.")
    near, far = depth_range
    steps = ((depths - near) * (_LEVELS / (far - near))).round().clamp(0, _LEVELS).int()
    numbers = torch.arange(count, device=depths.device, dtype=torch.int32)
    corner = (pixels - 0.5).floor().int()
    first = torch.arange(batch, device=depths.device, dtype=torch.int32)[:, None] * (size * size)
    silhouettes = _silhouettes(pixels.floor().long(), size)
    # One more cell takes what falls outside the images.
    nearest = torch.full((batch * size * size + 1,), _EMPTY, dtype=torch.int32, device=depths.device)
    farthest = nearest.clone()
    front_keys = ((steps << _INDEX_BITS) | numbers).flatten()
    back_keys = (((_LEVELS - steps) << _INDEX_BITS) | numbers).flatten()
    for down in (0, 1):
        for across in (0, 1):
            x, y = corner[..., 0] + across, corner[..., 1] + down
            outside = (x < 0) | (y < 0) | (x >= size) | (y >= size)
            cells = (first + y * size + x).masked_fill(outside, batch * size * size).flatten().long()
            nearest.scatter_reduce_(0, cells, front_keys, "amin")
            farthest.scatter_reduce_(0, cells, back_keys, "amin")
    shape = (batch, size, size)
    front, back = (_layer(_filled(keys[:-1].view(shape)), silhouettes) for keys in (nearest, farthest))
    return front, back


def _silhouettes(pixels: Int[Tensor, "B S 2"], size: int) -> Bool[Tensor, "B H W"]:
    """Pixels that contain samples, and holes of up to two pixels between them (a morphological closing)."""
    batch, (x, y) = len(pixels), pixels.unbind(-1)
    outside = (x < 0) | (y < 0) | (x >= size) | (y >= size)
    first = torch.arange(batch, device=pixels.device)[:, None] * (size * size)
    cells = (first + y * size + x).masked_fill(outside, batch * size * size).flatten()
    found = torch.zeros(batch * size * size + 1, device=pixels.device)
    found[cells] = 1.0
    dilated = F.max_pool2d(found[:-1].view(batch, 1, size, size), 3, 1, 1)
    # The border of the image is no boundary: padding would erode there.
    return (1 - F.max_pool2d(1 - F.pad(dilated, (1, 1, 1, 1), value=1.0), 3, 1, 0))[:, 0] > 0.5


def _filled(keys: Int[Tensor, "B H W"]) -> Int[Tensor, "B H W"]:
    """Keys whose holes have the key of their nearest neighbor."""
    height, width = keys.shape[1:]
    padded = F.pad(keys, (1, 1, 1, 1), value=_EMPTY)
    threshold = (keys >> _INDEX_BITS) - round(_HOLE_DEPTH * _LEVELS)
    nearer, count = keys, torch.zeros_like(keys)
    for down in range(3):
        for across in range(3):
            neighbor = padded[:, down : down + height, across : across + width]
            count = count + ((neighbor >> _INDEX_BITS) < threshold).int()
            nearer = torch.minimum(nearer, neighbor)
    return torch.where(count >= _HOLE_NEIGHBORS, nearer, keys)


def _layer(keys: Int[Tensor, "B H W"], silhouettes: Bool[Tensor, "B H W"]) -> Layer:
    hit = (keys != _EMPTY) & silhouettes
    return Layer(torch.where(hit, keys & MAX_SAMPLES, 0).long(), hit)
