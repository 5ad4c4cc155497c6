"""Fixed linear maps of features: channels of one scale, and principal components."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.core import release_pages

_SAMPLE_SIZE = 65_536  # cells, enough for the statistics of all
_SAMPLES_AT_ONCE = 1024  # each may be on pages of its own


def standardize(
    maps: Float[Tensor, "T V C h w"], valid: Bool[Tensor, "T V"]
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Offset and factor of each channel, so that (maps - offset) * factor has mean 0 and standard deviation 1.

    Constant channels get the factor 0.

    Args:
        maps: feature maps of all frames and views.
        valid: whether a view has an image at a time; others are left out.
    """
    cells = _sample_cells(maps, valid)
    deviation = cells.std(0, correction=0)
    return cells.mean(0), torch.where(deviation > 1e-6, 1 / deviation.clamp_min(1e-6), torch.zeros_like(deviation))


def pca_projection(maps: Float[Tensor, "T V C h w"], valid: Bool[Tensor, "T V"], channels: int) -> Float[Tensor, "D C"]:
    """The projection of feature vectors on their first principal components, D of them, at most C.

    Args:
        maps: feature maps of all frames and views.
        valid: whether a view has an image at a time; others are left out.
        channels: number of principal components.
    """
    cells = _sample_cells(maps, valid)
    cells = cells - cells.mean(0)
    _, vectors = torch.linalg.eigh(cells.T @ cells)  # eigenvalues in ascending order
    return vectors.flip(1).T[:channels].contiguous()


def _sample_cells(maps: Tensor, valid: Tensor) -> Float[Tensor, "M C"]:
    """Feature vectors of all valid images, or a random sample of them: a regular one could miss rows or columns."""
    pairs = valid.nonzero()
    height, width = maps.shape[-2:]
    count = len(pairs) * height * width
    if count <= _SAMPLE_SIZE:
        chosen = torch.arange(count)
    else:
        chosen = torch.randint(count, (_SAMPLE_SIZE,), generator=torch.Generator().manual_seed(0))
    # Read in their order in memory, where neighbors share pages, and then put back in the order of the draw.
    chosen, order = chosen.to(pairs.device).sort()
    time, view = pairs[chosen // (height * width)].unbind(1)
    row, column = chosen // width % height, chosen % width
    found = []
    for part in torch.arange(len(chosen), device=chosen.device).split(_SAMPLES_AT_ONCE):
        found.append(maps[time[part], view[part], :, row[part], column[part]])
        release_pages()
    return torch.cat(found).float()[order.argsort()]
