"""Colors of HDR and wide-gamut videos (PQ, HLG, BT.2020, Display P3) as sRGB."""

import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from ds4d.io.srgb import to_linear, to_srgb

WHITE = 203.0  # nits of HDR reference white, which becomes sRGB white (ITU-R BT.2408, 2.2)
HLG_PEAK = 1000.0  # nits of the nominal display, at which the system gamma is 1.2 (BT.2100, table 5)
_PEAK = 1000.0  # nits; of PQ without metadata
_MAX_PEAK = 10_000.0  # nits, the end of PQ
_ROWS_AT_ONCE = 256  # whose intermediate results are in memory together

# Code points of ITU-T H.273.
_TRANSFERS: dict[int, Literal["pq", "hlg"]] = {16: "pq", 18: "hlg"}
_BT2020, _DISPLAY_P3 = 9, 12
_VIEWABLE_MATRICES = (1, 9)  # of Dolby Vision's base layers, BT.709 and BT.2020; that of profile 5 is not viewable
# Linear RGB to linear RGB of BT.709, with the same white (BT.2087 for BT.2020).
_TO_BT709 = {
    _BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    _DISPLAY_P3: np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]]),
}
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020


@dataclass(frozen=True)
class VideoColor:
    """How the colors of a video are coded, where that is not sRGB.

    Attributes:
        transfer: PQ or HLG for HDR, sdr for what only has other primaries than sRGB.
        primaries: code point of the primaries in ITU-T H.273.
        peak: brightest light in the video, nits: by its metadata (MaxCLL, else the mastering display's peak), 1000
            without.
    """

    transfer: Literal["pq", "hlg", "sdr"]
    primaries: int
    peak: float

    @property
    def is_hdr(self) -> bool:
        """Whether colors are tone-mapped."""
        return self.transfer != "sdr"

    def __str__(self) -> str:
        return f"{self.transfer.upper()}, up to {self.peak:.0f} nits"


def video_color(frame: Any, *, transfer: int, primaries: int, matrix: int) -> VideoColor | None:
    """How the colors of a video are coded; None for what is read as sRGB.

    Args:
        frame: a decoded frame of PyAV, for its metadata.
        transfer: code point of the transfer characteristics in ITU-T H.273.
        primaries: code point of the color primaries.
        matrix: code point of the matrix coefficients.

    Raises:
        ValueError: The video is of Dolby Vision's profile 5, whose colors only a licensed decoder can show.
    """
    extra = {item.type.name: bytes(item) for item in frame.side_data}
    if any(name.startswith("DOVI") for name in extra) and matrix not in _VIEWABLE_MATRICES:
        raise ValueError(
            "must have colors that can be shown without a Dolby Vision decoder, got profile 5. Export it as HDR10, HLG "
            "or SDR."
        )
    if transfer in _TRANSFERS:
        peak = HLG_PEAK if _TRANSFERS[transfer] == "hlg" else _peak(extra)
        return VideoColor(_TRANSFERS[transfer], primaries if primaries in _TO_BT709 else _BT2020, peak)
    return VideoColor("sdr", primaries, WHITE) if primaries in _TO_BT709 else None


def _peak(extra: dict[str, bytes]) -> float:
    """The brightest light of a video in PQ by FFmpeg's AVContentLightMetadata or AVMasteringDisplayMetadata, nits."""
    if len(light := extra.get("CONTENT_LIGHT_LEVEL", b"")) >= 4:
        (peak,) = struct.unpack_from("=I", light)
        if peak > 0:
            return min(max(float(peak), WHITE), _MAX_PEAK)
    if len(display := extra.get("MASTERING_DISPLAY_METADATA", b"")) >= 88:
        numerator, denominator, _, has_luminance = struct.unpack_from("=4i", display, 72)
        if has_luminance and numerator > 0 and denominator > 0:
            return min(max(numerator / denominator, WHITE), _MAX_PEAK)
    return _PEAK


def tone_map(signal: UInt16[np.ndarray, "H W 3"], color: VideoColor) -> UInt8[np.ndarray, "H W 3"]:
    """Converts a frame to sRGB.

    Light is that of the reference display of ITU-R BT.2100. A display of 203 nits, HDR reference white, is simulated by
    the EETF of BT.2390 (5.4.1), which compresses highlights. It is applied to the largest of the three components,
    which keeps hue and saturation. Colors outside BT.709 are clipped.

    Args:
        signal: R'G'B' as coded, full range in 16 bits.
        color: the coding.
    """
    light = _light_table(color.transfer)
    to_bt709 = _TO_BT709[color.primaries].T.astype(np.float32)
    out = np.empty(signal.shape, np.uint8)
    for first in range(0, len(signal), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        linear = light[signal[rows]]
        if color.transfer == "hlg":  # the opto-optical transfer function
            linear *= (HLG_PEAK / WHITE) * (linear @ _LUMINANCE)[..., None] ** np.float32(0.2)
        linear = np.maximum(linear @ to_bt709, 0)
        largest = linear.max(axis=-1, keepdims=True)
        linear *= _eetf(largest, color.peak) / np.maximum(largest, 1e-9)
        out[rows] = np.rint(255 * to_srgb(linear.clip(0, 1)))
    return out


def _light_table(transfer: Literal["pq", "hlg", "sdr"]) -> Float[np.ndarray, "65536"]:
    """Light of each 16-bit value: of the display in units of white, for HLG of the scene in [0, 1]."""
    values = np.linspace(0, 1, 65536)
    if transfer == "pq":
        return (_pq_to_nits(values) / WHITE).astype(np.float32)
    if transfer == "hlg":
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12).astype(np.float32)
    return to_linear(values)


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_to_nits(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    root = values ** (1 / _M2)
    return _MAX_PEAK * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def _nits_to_pq(nits: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    power = (nits / _MAX_PEAK) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _eetf(light: Float[np.ndarray, "*shape"], peak: float) -> Float[np.ndarray, "*shape"]:
    """Maps light of up to `peak` nits to [0, 1], both in units of white; black stays 0 (BT.2390, 5.4.1)."""
    if peak <= WHITE:
        return np.minimum(light, 1)
    white, source = _nits_to_pq(np.array([WHITE, peak])).tolist()
    limit = white / source
    knee = 1.5 * limit - 0.5
    values = np.minimum(_nits_to_pq(light * WHITE) / source, 1)
    t = np.maximum(values - knee, 0) / (1 - knee)
    t2, t3 = t**2, t**3
    spline = (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) + (3 * t2 - 2 * t3) * limit
    return np.where(values < knee, light, _pq_to_nits(spline * source) / WHITE)
