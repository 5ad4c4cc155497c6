"""Shape checks of the data types."""

from collections.abc import Sequence

from torch import Tensor


def check_shape(owner: str, name: str, tensor: Tensor, trailing: Sequence[int | None]) -> None:
    """Checks that a tensor is floating point and that its last axes match `trailing` (None matches any size).

    Raises:
        ValueError: it is not, or they do not.
    """
    shape = tuple(tensor.shape)
    tail = shape[len(shape) - len(trailing) :]
    fits = len(shape) >= len(trailing) and all(
        want is None or want == got for want, got in zip(trailing, tail, strict=True)
    )
    if not fits:
        want = ", ".join("any" if size is None else str(size) for size in trailing)
        raise ValueError(f"{owner}: {name} must have shape [..., {want}], got {list(shape)}.")
    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{owner}: {name} must be floating point, got {tensor.dtype}. Call .float() on it.")
