"""What is found about a video before it is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Finding:
    """One thing about a video.

    Attributes:
        severity: fatal ones stop, warnings lower the quality, notes are for information.
        what: is found, a sentence.
        fix: what to do about it, one or more sentences; may be empty for a note.
    """

    severity: Literal["fatal", "warning", "note"]
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what} {self.fix}".strip()


def place_in_time(where: Bool[np.ndarray, " T"], seconds: Sequence[float]) -> str:
    """Frames in words: how many and when, in seconds of the video."""
    first, last = (seconds[index] for index in np.flatnonzero(where)[[0, -1]])
    when = f"at {first:.2f} s" if first == last else f"from {first:.2f} s to {last:.2f} s"
    return f"in {np.count_nonzero(where)} of {len(where)} frames, {when}"
