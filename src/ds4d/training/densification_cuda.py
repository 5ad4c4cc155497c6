"""The sums that densification goes by, on a GPU, in one kernel."""

from jaxtyping import Float, Int
from torch import Tensor

_POINTS = 128  # per program


def add_gradients(
    gradients: Float[Tensor, "*T V N 2"],
    radii: Int[Tensor, "*T V N 2"],
    size: tuple[int, int],
    sums: Float[Tensor, " N"],
    counts: Float[Tensor, " N"],
) -> None:
    """`Densification.accumulate`; adds to `sums` and `counts`."""
    from ds4d.training.densification_cuda_kernel import add

    gradients, radii = gradients.flatten(0, -3).contiguous(), radii.flatten(0, -3).contiguous()
    images, count, _ = gradients.shape
    if count:
        grid = (-(-count // _POINTS),)
        add[grid](gradients, radii, sums, counts, count, size[0] / 2, size[1] / 2, IMAGES=images, BLOCK=_POINTS)
