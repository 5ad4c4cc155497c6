"""Fixed linear reductions of feature maps: comparable channels, and few of them for distances."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_CELLS = 65_536  # a sample of the clip's cells that is large enough for its statistics


def standardize(
    maps: Float[Tensor, "T V C h w"], valid: Bool[Tensor, "T V"]
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Offset and factor of each channel that give it mean 0 and deviation 1 over the clip: (maps - offset) * factor.

    Channels that never change get the factor 0.
    """
    cells = _cells(maps, valid)
    deviation = cells.std(0, correction=0)
    return cells.mean(0), torch.where(deviation > 1e-6, 1 / deviation.clamp_min(1e-6), torch.zeros_like(deviation))


def principal_map(maps: Float[Tensor, "T V C h w"], valid: Bool[Tensor, "T V"], channels: int) -> Float[Tensor, "D C"]:
    """The map of vectors onto the clip's strongest principal components (at most C of them)."""
    cells = _cells(maps, valid)
    cells = cells - cells.mean(0)
    _, vectors = torch.linalg.eigh(cells.T @ cells)  # rising eigenvalues
    return vectors.flip(1).T[:channels].contiguous()


def _cells(maps: Tensor, valid: Tensor) -> Float[Tensor, "M C"]:
    """Vectors of the images that exist; of many cells a sample, drawn so that no row or column is left out."""
    pairs = valid.nonzero()
    height, width = maps.shape[-2:]
    count = len(pairs) * height * width
    if count <= _CELLS:
        chosen = torch.arange(count)
    else:
        chosen = torch.randint(count, (_CELLS,), generator=torch.Generator().manual_seed(0))
    chosen = chosen.to(pairs.device)
    time, view = pairs[chosen // (height * width)].unbind(1)
    row, column = chosen // width % height, chosen % width
    return maps[time, view, :, row, column].float()
