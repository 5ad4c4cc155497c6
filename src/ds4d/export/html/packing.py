"""Compression of all frames of a scene: quantized values, each frame as its difference from the one before.

A channel is one number per frame and Gaussian: a coordinate, a component of a quaternion, a color. Its range over all
frames is quantized uniformly, so that every value is off by at most half a step and errors do not accumulate over time.
Differences between frames are small; their upper bytes are nearly all 0 and deflate well.

Layout before deflate: the lower bytes of all differences [C, T, N] with C in the order of `CHANNELS`, their upper
bytes, then the view-dependent colors [N, K - 1, 3]. A difference d is stored as 2 d, or -2 d - 1 if it is negative
(zigzag); the first frame is the difference from 0.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ds4d.core import tracked
from ds4d.geometry import sh_degree
from ds4d.shapes.gaussian_files import check_finite
from ds4d.types import RawGaussians

# Parameters of the Gaussians: number of channels, and bits per channel. Fewer bits are visible, more are not.
CHANNELS = {"means": (3, 14), "opacity_logits": (1, 8), "quats": (4, 9), "log_scales": (3, 8), "sh0": (3, 8)}

_MIN_SCALE = 1e-4  # normalized units (the radius of the object is 0.5): far below a pixel
_MAX_LOGIT = 8.0  # opacities beyond it look like 0 or 1


@dataclass(frozen=True)
class PackedFrames:
    """All frames of a scene, compressed.

    Attributes:
        deflated: the layout described above, deflated (zlib).
        num_times: number of frames, T.
        num_gaussians: number of Gaussians, N.
        sh_bases: number of spherical harmonics, K.
        low: smallest value of each channel.
        step: quantization step of each channel.
        sh_low: smallest value of each basis of the view-dependent colors.
        sh_step: quantization step of each basis.
    """

    deflated: bytes
    num_times: int
    num_gaussians: int
    sh_bases: int
    low: tuple[float, ...]
    step: tuple[float, ...]
    sh_low: tuple[float, ...]
    sh_step: tuple[float, ...]


def pack_frames(frames: RawGaussians) -> PackedFrames:
    """Quantizes and compresses the frames of a scene.

    Quaternions are normalized, and their signs chosen to be continuous over time. Scales below 1e-4 and logits beyond
    +-8 are clamped, which is not visible.

    Args:
        frames: Gaussians with a leading axis T.

    Raises:
        ValueError: there is no time axis, a value is NaN or infinite, or the view-dependent part of the colors
            changes over time.
    """
    if frames.means.ndim != 3:
        raise ValueError(f"pack_frames: frames must have a time axis, got means {list(frames.means.shape)}.")
    check_finite(frames, "pack_frames")
    planes, low, step = [], [], []
    for name, values in tracked(_channels(frames).items(), "compressing the frames"):
        for channel in values.unbind(-1):
            whole, least, width = _quantize(channel.double().numpy(force=True), CHANNELS[name][1])
            planes.append(whole)
            low.append(least)
            step.append(width)
    changes = _zigzag(np.diff(np.stack(planes), axis=1, prepend=0))
    rest, sh_low, sh_step = _pack_rest(frames.sh)
    content = b"".join(((changes & 255).astype(np.uint8).tobytes(), (changes >> 8).astype(np.uint8).tobytes(), rest))
    count, bases = frames.num_gaussians, frames.sh.shape[-2]
    return PackedFrames(
        zlib.compress(content, 6), len(frames.means), count, bases, tuple(low), tuple(step), sh_low, sh_step
    )


def unpack_frames(packed: PackedFrames) -> RawGaussians:
    """The frames as the page renders them: those that were packed, up to quantization, with unit quaternions."""
    content = np.frombuffer(zlib.decompress(packed.deflated), np.uint8)
    shape = (len(packed.low), packed.num_times, packed.num_gaussians)
    size = math.prod(shape)
    changes = _unzigzag(content[:size].astype(np.int64) + 256 * content[size : 2 * size].astype(np.int64))
    whole = changes.reshape(shape).cumsum(1)
    values = _dequantize(whole, packed.low, packed.step)
    parts = dict(zip(CHANNELS, values.split([count for count, _ in CHANNELS.values()]), strict=True))
    rest = content[2 * size :].reshape(packed.num_gaussians, packed.sh_bases - 1, 3)
    sh_rest = _dequantize(rest.transpose(1, 0, 2), packed.sh_low, packed.sh_step).movedim(0, 1)
    sh0 = parts["sh0"].movedim(0, -1)[:, :, None]
    return RawGaussians(
        means=parts["means"].movedim(0, -1),
        quats=parts["quats"].movedim(0, -1),
        log_scales=parts["log_scales"].movedim(0, -1),
        opacity_logits=parts["opacity_logits"][0],
        sh=torch.cat((sh0, sh_rest.expand(packed.num_times, *sh_rest.shape)), dim=2),
    )


def _channels(frames: RawGaussians) -> dict[str, Float[Tensor, "T N C"]]:
    sh0 = frames.sh[..., 0, :]
    return {
        "means": frames.means,
        "opacity_logits": frames.opacity_logits.clamp(-_MAX_LOGIT, _MAX_LOGIT)[..., None],
        "quats": _continuous(torch.nn.functional.normalize(frames.quats, dim=-1)),
        "log_scales": frames.log_scales.clamp_min(math.log(_MIN_SCALE)),
        "sh0": sh0.expand(len(frames.means), *sh0.shape[-2:]),
    }


def _continuous(quats: Float[Tensor, "T N 4"]) -> Float[Tensor, "T N 4"]:
    """The same rotations with continuous signs: of q and -q, the one nearer to the frame before."""
    flipped = (quats[1:] * quats[:-1]).sum(-1, keepdim=True) < 0
    signs = torch.cat((quats.new_ones(1, *quats.shape[1:-1], 1), 1.0 - 2.0 * flipped))
    return quats * signs.cumprod(0)


def _quantize(values: Shaped[np.ndarray, "*S"], bits: int) -> tuple[Shaped[np.ndarray, "*S"], float, float]:
    """Integers of `bits` bits, the value of 0, and the step."""
    least, most = float(values.min()), float(values.max())
    step = (most - least) / (2**bits - 1) or 1.0
    return np.rint((values - least) / step).astype(np.int32), least, step


def _dequantize(whole: Shaped[np.ndarray, "C *S"], low: tuple[float, ...], step: tuple[float, ...]) -> Tensor:
    column = (-1, *[1] * (whole.ndim - 1))
    values = np.array(low).reshape(column) + whole * np.array(step).reshape(column)
    return torch.from_numpy(values).float()


def _pack_rest(sh: Float[Tensor, "*S N K 3"]) -> tuple[bytes, tuple[float, ...], tuple[float, ...]]:
    """The view-dependent colors in 8 bits [N, K - 1, 3], with the smallest value and the step of each basis."""
    sh_degree(sh.shape[-2])
    rest = sh[..., 1:, :]
    if rest.ndim == 4:
        if not torch.equal(rest, rest[:1].expand_as(rest)):
            raise ValueError(
                "pack_frames: the view-dependent part of sh must be constant, got one that changes over time. "
                "Export PLY files instead."
            )
        rest = rest[0]
    quantized = [_quantize(basis.double().numpy(force=True), 8) for basis in rest.unbind(1)]
    whole = np.stack([whole for whole, _, _ in quantized], axis=1) if quantized else np.zeros(0)
    return (
        whole.astype(np.uint8).tobytes(),
        tuple(low for _, low, _ in quantized),
        tuple(step for _, _, step in quantized),
    )


def _zigzag(changes: Shaped[np.ndarray, "*S"]) -> Shaped[np.ndarray, "*S"]:
    """Signed to unsigned integers: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return np.where(changes < 0, -2 * changes - 1, 2 * changes)


def _unzigzag(folded: Shaped[np.ndarray, "*S"]) -> Shaped[np.ndarray, "*S"]:
    return np.where(folded & 1, -(folded + 1) // 2, folded // 2)
