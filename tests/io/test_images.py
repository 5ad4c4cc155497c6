import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds4d.io import (
    Size,
    image_size,
    premultiply,
    read_rgba,
    reduced_size,
    resize_premultiplied,
    spread_colors,
    unpremultiply,
    write_png,
)


def _random_rgba(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 4), dtype=np.uint8)


def _premultiplied_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise whose alpha takes all values, often 0 and 255."""
    rgba = _random_rgba(rng, height, width)
    rgba[..., 3] = np.clip(rgba[..., 3].astype(int) * 2 - 128, 0, 255)
    return premultiply(rgba)


def test_png_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    rgba = _random_rgba(rng, 5, 7)
    write_png(tmp_path / "made" / "a.png", rgba)
    assert np.array_equal(read_rgba(tmp_path / "made" / "a.png"), rgba)
    assert image_size(tmp_path / "made" / "a.png") == (7, 5)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["a.png"]


def test_rgb_files_are_opaque(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = _random_rgba(rng, 3, 4)[..., :3]
    write_png(tmp_path / "a.png", rgb)
    assert np.array_equal(read_rgba(tmp_path / "a.png")[..., :3], rgb)
    assert (read_rgba(tmp_path / "a.png")[..., 3] == 255).all()


def test_other_channel_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="channels"):
        write_png(tmp_path / "a.png", np.zeros((2, 2, 2), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.new("L", (2, 2), 100), (100, 100, 100, 255), id="gray"),
        pytest.param(Image.new("LA", (2, 2), (100, 7)), (100, 100, 100, 7), id="gray with alpha"),
        pytest.param(Image.new("1", (2, 2), 1), (255, 255, 255, 255), id="one bit"),
        pytest.param(Image.new("RGB", (2, 2), (9, 8, 7)).convert("P"), (9, 8, 7, 255), id="palette"),
        # 25700 = 100 * 257: Pillow's own conversion would clip it to 255.
        pytest.param(Image.fromarray(np.full((2, 2), 25700, np.uint16)), (100, 100, 100, 255), id="16-bit gray"),
    ],
)
def test_other_pixel_formats(tmp_path: Path, image: Image.Image, expected: tuple[int, ...]) -> None:
    image.save(tmp_path / "a.png")
    pixels = read_rgba(tmp_path / "a.png")
    assert pixels.dtype == np.uint8 and pixels.shape == (2, 2, 4)
    if image.mode == "P":
        assert np.abs(pixels[0, 0].astype(int) - expected).max() <= 16  # the web palette is coarse
    else:
        assert tuple(pixels[0, 0]) == expected


def test_palette_transparency_becomes_alpha(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert read_rgba(tmp_path / "a.png").tolist() == [[[10, 20, 30, 0], [40, 50, 60, 255]]]


def test_unreadable_files_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    write_png(tmp_path / "whole.png", _random_rgba(rng, 64, 64))
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "headless.png").write_bytes(content[:20])
    (tmp_path / "broken.png").write_bytes(content[:60] + b"\0" * 40 + content[100:])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tiff")
    for name in ("truncated.png", "headless.png", "broken.png", "text.png", "empty.png", "folder.png", "float.tiff"):
        with pytest.raises(ValueError, match=name):
            read_rgba(tmp_path / name)
    for name in ("headless.png", "text.png", "empty.png", "missing.png"):
        with pytest.raises(ValueError, match=name):
            image_size(tmp_path / name)


def test_premultiply_rounds_to_nearest_for_every_pair_of_values() -> None:
    colors, alphas = np.mgrid[:256, :256].astype(np.uint8)
    out = premultiply(np.stack((colors, colors, colors, alphas), axis=-1))
    assert np.array_equal(out[..., 0], np.rint(colors.astype(np.float64) * alphas / 255))
    assert np.array_equal(out[..., 3], alphas)


def test_unpremultiplied_colors_premultiply_to_the_same() -> None:
    colors, alphas = np.mgrid[:256, :256].astype(np.uint8)
    rgba = np.stack((colors, colors, colors, alphas), axis=-1)[None, colors <= alphas]
    straight = unpremultiply(rgba)
    assert np.array_equal(premultiply(straight), rgba)
    assert np.array_equal(straight[rgba[..., 3] == 255], rgba[rgba[..., 3] == 255])


def test_premultiply_does_not_change_its_input(rng: np.random.Generator) -> None:
    rgba = _random_rgba(rng, 4, 4)
    before = rgba.copy()
    premultiply(rgba)
    assert np.array_equal(rgba, before)


def test_integer_factors_average(rng: np.random.Generator) -> None:
    rgba = _premultiplied_noise(rng, 8, 12)
    means = rgba.astype(np.float64).reshape(4, 2, 4, 3, 4).mean(axis=(1, 3))
    small = resize_premultiplied(rgba, 4, 4)
    assert np.abs(small - means).max() <= 1.0  # each of the two passes rounds


@pytest.mark.parametrize(("width", "height"), [(9, 9), (5, 40), (40, 5), (37, 41), (1, 1)])
def test_resizing_a_uniform_image(width: int, height: int) -> None:
    plain = np.broadcast_to(np.array([100, 50, 0, 120], np.uint8), (16, 20, 4)).copy()
    out = resize_premultiplied(plain, width, height)
    assert out.shape == (height, width, 4)
    assert (out == [100, 50, 0, 120]).all()


@pytest.mark.parametrize(("width", "height"), [(10, 10), (64, 64), (9, 70), (13, 6)])
def test_color_never_exceeds_alpha(rng: np.random.Generator, width: int, height: int) -> None:
    out = resize_premultiplied(_premultiplied_noise(rng, 24, 24), width, height)
    assert (out[..., :3] <= out[..., 3:]).all()


def test_hidden_color_does_not_bleed() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., 0] = 255  # bright red under alpha 0
    rgba[:, 4:] = (0, 0, 255, 255)
    for size in (3, 5, 16):
        out = resize_premultiplied(premultiply(rgba), size, size)
        assert (out[..., 0] == 0).all() and out[..., 2].max() == 255


def test_resizing_keeps_positions() -> None:
    rgba = np.zeros((30, 30, 4), np.uint8)
    rgba[6:12, 18:24] = 255  # center at x = 21, y = 9
    for size in (10, 20, 75):
        alpha = resize_premultiplied(rgba, size, size)[..., 3].astype(np.float64)
        ys, xs = np.mgrid[:size, :size] + 0.5
        assert np.average(xs, weights=alpha) * 30 / size == pytest.approx(21, abs=0.1)
        assert np.average(ys, weights=alpha) * 30 / size == pytest.approx(9, abs=0.1)


def test_same_size_is_unchanged_and_empty_sizes_are_refused(rng: np.random.Generator) -> None:
    rgba = _premultiplied_noise(rng, 6, 5)
    assert np.array_equal(resize_premultiplied(rgba, 5, 6), rgba)
    with pytest.raises(ValueError, match="0 x 6"):
        resize_premultiplied(rgba, 0, 6)


def test_colors_spread_to_transparent_pixels() -> None:
    rgba = np.zeros((33, 20, 4), np.uint8)
    rgba[5, 5] = (200, 100, 50, 255)
    rgba[6, 5] = (255, 0, 255, 3)  # so faint that its color means nothing
    rgba[30, 15] = (10, 20, 30, 128)
    out = spread_colors(rgba)
    assert np.array_equal(out[..., 3], rgba[..., 3])
    assert np.array_equal(out[[5, 30], [5, 15]], rgba[[5, 30], [5, 15]])
    assert out[6, 5].tolist() == [200, 100, 50, 3]
    assert out[0, 0, :3].tolist() == [200, 100, 50] and out[31, 14, :3].tolist() == [10, 20, 30]
    nothing = np.zeros((3, 3, 4), np.uint8)
    assert np.array_equal(spread_colors(nothing), nothing)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(640, 480), Size(320, 240)),
        (Size(480, 640), Size(240, 320)),
        (Size(320, 9), Size(320, 9)),
        (Size(4000, 1), Size(320, 1)),
    ],
)
def test_reduced_size_keeps_the_aspect_ratio(size: Size, expected: Size) -> None:
    assert reduced_size(size, 320) == expected


def _png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of any size, without pixels."""
    chunk = b"IHDR" + struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return head + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize("side", [8193, 13_000, 60_000, 2**31 - 1])
def test_images_beyond_64_megapixels_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(_png_header(side, side))
    for read in (read_rgba, image_size):
        with pytest.raises(ValueError, match=r"a\.png"):
            read(tmp_path / "a.png")


def test_formats_that_other_programs_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(ValueError, match=r"a\.png"):
        read_rgba(tmp_path / "a.png")


def test_premultiplying_needs_little_memory_beside_the_result() -> None:
    rgba = np.full((4096, 1024, 4), 200, np.uint8)
    tracemalloc.start()
    premultiply(rgba)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.6 * rgba.nbytes


def test_blocks_of_rows_join(rng: np.random.Generator, tmp_path: Path) -> None:
    rgba = _random_rgba(rng, 600, 3)
    expected = np.rint(rgba[..., :3] * (rgba[..., 3:] / 255.0))
    assert np.array_equal(premultiply(rgba)[..., :3], expected)
    deep = (np.arange(600 * 3).reshape(600, 3) * 36).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.array_equal(np.rint(deep / 257), read_rgba(tmp_path / "a.png")[..., 0])
