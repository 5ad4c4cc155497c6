"""Compact files of single frames by GaussForge (Apache-2.0; extra `spz`).

Niantic's SPZ, version 3, is a gzipped table of quantized values, y up by its specification. PlayCanvas' SOG is a zip of
WebP images, sorted in space.
"""

import math
import tempfile
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from torch.nn.functional import normalize

from ds4d.core import install_command
from ds4d.export.ply import write_ply
from ds4d.export.single_frame import check_single_frame
from ds4d.io import atomic_path, read_bytes
from ds4d.shapes import read_ply
from ds4d.types import RawGaussians

_MAX_BYTES = 2**31
_MAX_LOGIT = math.log(254)  # of 254 / 255: the byte next to the last


def _write(raw: RawGaussians, path: str | Path, format: str) -> None:
    """Writes the Gaussians of one frame, atomically.

    Args:
        raw: Gaussians without a time axis.
        path: the file.
        format: spz or sog.

    Raises:
        ImportError: GaussForge is not installed.
        ValueError: `raw` has a time axis, or holds NaN or infinity.
        RuntimeError: GaussForge failed.
    """
    converter = _converter(f"writing {path}")
    raw = check_single_frame(raw, f"write_{format}", path)
    # GaussForge packs quaternions as they are; and readers turn opacities of 0 and 1 into infinite logits.
    logits = raw.opacity_logits.clamp(-_MAX_LOGIT, _MAX_LOGIT)
    raw = replace(raw, quats=normalize(raw.quats, dim=-1), opacity_logits=logits)
    with tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
        write_ply(raw, Path(folder) / "frame.ply")
        answer = converter.convert((Path(folder) / "frame.ply").read_bytes(), "ply", format)
    if "error" in answer:
        raise RuntimeError(f"GaussForge could not write {path}: {answer['error']}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(answer["data"])


def _read(path: str | Path, format: str) -> RawGaussians:
    """The Gaussians of a file, in the order of the file.

    Raises:
        ImportError: GaussForge is not installed.
        ValueError: the file is missing or damaged.
    """
    converter = _converter(f"reading {path}")
    answer = converter.convert(read_bytes(path, max_bytes=_MAX_BYTES), format, "ply")
    if "error" in answer or not answer["data"]:
        raise ValueError(
            f"{path} must be a valid .{format} file, got one that cannot be read: {answer.get('error', 'it is empty')}"
        )
    with tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
        (Path(folder) / "frame.ply").write_bytes(answer["data"])
        return read_ply(Path(folder) / "frame.ply")


def _converter(purpose: str) -> Any:
    try:
        return cast(Any, import_module("gaussforge")).GaussForge()
    except ImportError as error:
        raise ImportError(f"{purpose} needs GaussForge. Install it with: {install_command('spz')}") from error


write_spz, write_sog = partial(_write, format="spz"), partial(_write, format="sog")
read_spz, read_sog = partial(_read, format="spz"), partial(_read, format="sog")
