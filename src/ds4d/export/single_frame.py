"""Checks that all writers of single frames share."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ds4d.types import RawGaussians

_MIN_OPACITY = 1 / 510  # of the byte 0


def check_single_frame(raw: RawGaussians, writer: str, path: str | Path) -> RawGaussians:
    """The Gaussians of one frame, ready to be written: on the CPU, in single precision, without gradients.

    Args:
        raw: Gaussians to write.
        writer: name of the calling function, for the message.
        path: the file, for the message.

    Raises:
        ValueError: `raw` has a time axis, or holds NaN or infinity.
    """
    if raw.means.ndim != 2:
        raise ValueError(f"{writer}: raw must have no time axis, got means {list(raw.means.shape)}. Use at_time(i).")
    check_finite(raw, f"{writer}: {path}")
    return RawGaussians(**{name: getattr(raw, name).detach().cpu().float() for name in raw.__dataclass_fields__})


def check_finite(raw: RawGaussians, where: str) -> None:
    """Refuses NaN and infinity and names the parameter that has them.

    Raises:
        ValueError: a value is not finite.
    """
    for name in raw.__dataclass_fields__:
        bad = int((~getattr(raw, name).isfinite()).sum())
        if bad:
            raise ValueError(f"{where}: {name} must be finite, got {bad} values that are NaN or infinite.")


def byte_logits(opacities: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Finite logits of opacities that were rounded to bytes, 0 and 1 included."""
    return opacities.clamp(_MIN_OPACITY, 1 - _MIN_OPACITY).logit()
