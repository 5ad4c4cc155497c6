import math
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from ds4d.io.tone_mapping import VideoColor, tone_map, video_color
from ds4d.io.video_reader import VideoReader

PQ, HLG, BT709 = 16, 18, 1
COLORS = [(200, 30, 30), (40, 60, 200), (30, 160, 60), (128, 128, 128), (250, 250, 250), (12, 12, 12)]


# The formulas of BT.2100 and BT.2390, one number at a time, as printed there.


def srgb_to_linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def linear_to_srgb(value: float) -> float:
    return value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def pq_encode(nits: float) -> float:
    y = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def pq_decode(value: float) -> float:
    root = value ** (1 / 78.84375)
    return 10000 * (max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)


def hlg_encode(scene: float) -> float:
    return math.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


def eetf(nits: float, peak: float) -> float:
    """BT.2390, 5.4.1, for a display of 203 nits; black is 0."""
    low, high = 0.0, pq_encode(peak)
    e1 = min((pq_encode(nits) - low) / (high - low), 1)
    maximum = pq_encode(203) / high
    knee = 1.5 * maximum - 0.5
    if e1 < knee:
        return nits
    t = (e1 - knee) / (1 - knee)
    e2 = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * maximum
    return pq_decode(e2 * high)


def to_bt2020(rgb: list[float]) -> list[float]:
    rows = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]  # BT.2087, table 2
    return [sum(a * b for a, b in zip(row, rgb, strict=True)) for row in rows]


def expected(color: tuple[int, ...], peak: float) -> list[float]:
    """What a color of sRGB, with its white at 203 nits, becomes on a display of 203 nits."""
    nits = [203 * srgb_to_linear(value / 255) for value in color]
    scale = eetf(max(nits), peak) / max(nits) if peak > 203 else 1.0
    return [255 * linear_to_srgb(scale * value / 203) for value in nits]


def coded(color: tuple[int, ...], transfer: int) -> list[float]:
    """R'G'B' in BT.2020 of a color of sRGB, with its white at 203 nits."""
    if transfer == BT709:
        return [value / 255 for value in color]
    nits = to_bt2020([203 * srgb_to_linear(value / 255) for value in color])
    if transfer == PQ:
        return [pq_encode(value) for value in nits]
    luminance = (0.2627 * nits[0] + 0.6780 * nits[1] + 0.0593 * nits[2]) / 1000
    return [hlg_encode(value / 1000 * luminance ** (1 / 1.2 - 1)) for value in nits]


def write_patches(
    path: Path, transfer: int, *, codec: str = "ffv1", pix_fmt: str = "yuv444p10le", full: bool = False, x265: str = ""
) -> Path:
    """A video of 16-pixel patches of `COLORS`, in 10 bits, by the equations of BT.2020 or BT.709."""
    kr, kb = (0.2627, 0.0593) if transfer != BT709 else (0.2126, 0.0722)
    planes = [np.zeros((16, 16 * len(COLORS)), np.uint16) for _ in range(3)]
    for index, color in enumerate(COLORS):
        r, g, b = coded(color, transfer)
        y = kr * r + (1 - kr - kb) * g + kb * b
        cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
        codes = (1023 * y, 1023 * cb + 512, 1023 * cr + 512)
        if not full:
            codes = (876 * y + 64, 896 * cb + 512, 896 * cr + 512)
        for plane, code in zip(planes, codes, strict=True):
            plane[:, 16 * index : 16 * index + 16] = round(code)
    with av.open(str(path), "w") as container:
        # One thread, and no frame that waits for another: packets come in the order of their times.
        plain = "log-level=0:pools=none:frame-threads=1:bframes=0:rc-lookahead=0"
        stream = container.add_stream(codec, rate=10, options={"x265-params": f"{plain}:{x265}"} if x265 else {})
        stream.width, stream.height, stream.pix_fmt = 16 * len(COLORS), 16, pix_fmt
        context = stream.codec_context
        context.color_trc = transfer
        context.color_primaries = context.colorspace = 1 if transfer == BT709 else 9
        context.color_range = 2 if full else 1
        for time in range(2):
            frame = av.VideoFrame(stream.width, stream.height, pix_fmt)
            for plane, values in zip(frame.planes, planes, strict=True):
                step = 16 * len(COLORS) // plane.width
                small = values[:: 16 // plane.height, ::step]
                padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                padded[:, : plane.width] = small
                plane.update(padded.tobytes())
            frame.pts, frame.time_base = time, Fraction(1, 10)
            frame.color_range, frame.colorspace = context.color_range, context.colorspace
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_patches(path: Path) -> list[list[int]]:
    _, frame = next(VideoReader(path).read([1], 1000, alpha=True))
    assert frame[..., 3].min() == 255
    return [frame[8, 16 * index + 8, :3].tolist() for index in range(len(COLORS))]


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuv420p10le"])
def test_hdr_becomes_the_colors_of_the_recommendations(tmp_path: Path, transfer: int, full: bool, pix_fmt: str) -> None:
    path = write_patches(tmp_path / "a.mkv", transfer, full=full, pix_fmt=pix_fmt)
    color = VideoReader(path).color
    assert color is not None
    assert color.peak == 1000.0
    for got, patch in zip(read_patches(path), COLORS, strict=True):
        assert got == pytest.approx(expected(patch, 1000), abs=4)


@pytest.mark.parametrize(
    ("metadata", "peak"),
    [
        ("hdr10=1:max-cll=203,100", 203.0),
        ("hdr10=1:max-cll=4000,100", 4000.0),
        ("hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(6000000,1)", 600.0),
        ("hdr10=1:max-cll=0,0", 1000.0),
    ],
)
def test_the_peak_is_that_of_the_metadata(tmp_path: Path, metadata: str, peak: float) -> None:
    path = write_patches(tmp_path / "a.mkv", PQ, codec="libx265", pix_fmt="yuv420p10le", x265=f"lossless=1:{metadata}")
    color = VideoReader(path).color
    assert color is not None
    assert color.peak == peak
    for got, patch in zip(read_patches(path), COLORS, strict=True):
        assert got == pytest.approx(expected(patch, peak), abs=4)
        if peak == 203.0:
            assert got == pytest.approx(patch, abs=4)


@pytest.mark.parametrize("full", [False, True])
def test_sdr_in_ten_bits_is_unchanged(tmp_path: Path, full: bool) -> None:
    path = write_patches(tmp_path / "a.mkv", BT709, full=full)
    assert VideoReader(path).color is None
    for got, patch in zip(read_patches(path), COLORS, strict=True):
        assert got == pytest.approx(patch, abs=2)


def test_hdr_with_alpha(tmp_path: Path) -> None:
    path = write_patches(tmp_path / "a.mov", HLG, codec="prores_ks", pix_fmt="yuv444p10le")
    video = VideoReader(path)
    assert video.color is not None
    assert video.color.transfer == "hlg"
    for got, patch in zip(read_patches(path), COLORS, strict=True):
        assert got == pytest.approx(expected(patch, 1000), abs=6)  # the codec loses some


def test_highlights_keep_their_hue_and_do_not_clip() -> None:
    values = np.linspace(0, 65535, 256).round().astype(np.uint16)
    ramp = np.stack([values, values, values], axis=-1)[None]
    gray = tone_map(ramp, VideoColor("pq", 9, 1000.0))[0].astype(int)
    assert (np.diff(gray[:, 0]) >= 0).all()
    assert np.ptp(gray, axis=1).max() <= 1
    white, peak = round(pq_encode(203) * 255), round(pq_encode(1000) * 255)
    assert 215 < gray[white, 0] < 240
    assert gray[peak, 0] >= 254


def test_display_p3_is_converted() -> None:
    # The P3 red that sRGB just reaches, and gray, which all primaries share.
    signal = np.array([[[0.9175, 0.2003, 0.1386], [0.5, 0.5, 0.5]]])
    out = tone_map((65535 * signal).round().astype(np.uint16), VideoColor("sdr", 12, 203.0))
    assert out[0, 0].tolist() == pytest.approx([255, 0, 0], abs=4)
    assert out[0, 1].tolist() == pytest.approx([128, 128, 128], abs=1)


def _frame(**side_data: bytes) -> SimpleNamespace:
    class Item(bytes):
        type: SimpleNamespace

    items = []
    for name, content in side_data.items():
        items.append(Item(content))
        items[-1].type = SimpleNamespace(name=name)
    return SimpleNamespace(side_data=items)


def test_dolby_vision_uses_its_base_layer() -> None:
    color = video_color(_frame(DOVI_RPU_BUFFER=b"x"), transfer=HLG, primaries=9, matrix=9)  # profile 8.4
    assert color is not None
    assert color.transfer == "hlg"
    assert video_color(_frame(DOVI_METADATA=b"x"), transfer=1, primaries=1, matrix=1) is None  # profile 8.2
    with pytest.raises(ValueError, match="profile 5"):
        video_color(_frame(DOVI_METADATA=b"x"), transfer=2, primaries=2, matrix=2)


def test_absurd_metadata_is_limited() -> None:
    for peak in (1, 2**32 - 1):
        color = video_color(_frame(CONTENT_LIGHT_LEVEL=struct.pack("=2I", peak, 0)), transfer=PQ, primaries=9, matrix=9)
        assert color is not None
        assert 203 <= color.peak <= 10_000
    assert video_color(_frame(CONTENT_LIGHT_LEVEL=b""), transfer=PQ, primaries=9, matrix=9) == VideoColor(
        "pq", 9, 1000.0
    )
