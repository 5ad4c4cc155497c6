"""Products of many short vectors with small matrices."""

from jaxtyping import Float
from torch import Tensor


def transformed(vectors: Float[Tensor, "B N K"], matrices: Float[Tensor, "B K C"]) -> Float[Tensor, "B N C"]:
    """`vectors @ matrices`, for small K.

    As a sum over K, which a compiler fuses with its surroundings: matrix kernels are several times slower.
    """
    product = vectors[..., 0, None] * matrices[..., None, 0, :]
    for k in range(1, vectors.shape[-1]):
        product = product + vectors[..., k, None] * matrices[..., None, k, :]
    return product
