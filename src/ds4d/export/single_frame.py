"""What every file of one moment's Gaussians asks of them."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ds4d.types import RawGaussians

_FAINTEST = 1 / 510  # opacity of the byte 0


def check_single_frame(raw: RawGaussians, writer: str, path: str | Path) -> RawGaussians:
    """One moment's Gaussians as files hold them: on the CPU, single precision, without gradients.

    Args:
        raw: about to be written.
        writer: name of the function that asks.
        path: of the file.

    Raises:
        ValueError: `raw` has a time axis, or holds NaN or infinity.
    """
    if raw.means.ndim != 2:
        raise ValueError(f"{writer}: raw must have no time axis, got means {list(raw.means.shape)}. Use at_time(i).")
    check_finite(raw, f"{writer}: {path}")
    return RawGaussians(**{name: getattr(raw, name).detach().cpu().float() for name in raw.__dataclass_fields__})


def check_finite(raw: RawGaussians, where: str) -> None:
    """Refuses NaN and infinity, by the name of the value that has them.

    Raises:
        ValueError: a value is not finite.
    """
    for name in raw.__dataclass_fields__:
        bad = int((~getattr(raw, name).isfinite()).sum())
        if bad:
            raise ValueError(f"{where}: {name} must be finite, got {bad} values that are NaN or infinite.")


def byte_logits(opacities: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Logits of opacities that were rounded to bytes; those of 0 and 1 are finite."""
    return opacities.clamp(_FAINTEST, 1 - _FAINTEST).logit()
