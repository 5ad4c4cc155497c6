"""Checks that all writers of single frames share."""

from pathlib import Path

from ds4d.shapes.gaussian_files import check_finite
from ds4d.types import RawGaussians


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
