from pathlib import Path

import numpy as np
import pytest

from ds4d.data import FrameStore, frame_store
from ds4d.io import premultiply, read_rgba, write_png


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really opened, in order."""
    opened: list[Path] = []

    def spy(path: Path) -> np.ndarray:
        opened.append(path)
        return read_rgba(path)

    monkeypatch.setattr(frame_store, "read_rgba", spy)
    return opened


@pytest.fixture
def paths(tmp_path: Path, rng: np.random.Generator) -> list[list[Path]]:
    """3 times, 2 views of noise, 8 x 8."""
    grid = [[tmp_path / f"{time}_{view}.png" for view in range(2)] for time in range(3)]
    for row in grid:
        for path in row:
            write_png(path, rng.integers(0, 256, (8, 8, 4), dtype=np.uint8))
    return grid


def test_gives_premultiplied_images_of_the_right_file(paths: list[list[Path]]) -> None:
    store = FrameStore(paths, 8, 8)
    assert (store.num_times, store.num_views, store.width, store.height) == (3, 2, 8, 8)
    for time in range(3):
        for view in range(2):
            assert np.array_equal(store.read(time, view), premultiply(read_rgba(paths[time][view])))


def test_images_come_at_the_common_size(paths: list[list[Path]]) -> None:
    assert FrameStore(paths, 6, 4).read(0, 0).shape == (4, 6, 4)


def test_images_are_read_on_demand(paths: list[list[Path]], reads: list[Path]) -> None:
    store = FrameStore(paths, 8, 8)
    assert reads == []
    store.read(2, 1)
    store.read(2, 1)
    assert reads == [paths[2][1]]


def test_the_least_recently_used_image_leaves_the_cache(paths: list[list[Path]], reads: list[Path]) -> None:
    store = FrameStore(paths, 8, 8, cache_bytes=2 * 8 * 8 * 4 + 5)  # two images
    for time, view in ((0, 0), (0, 1), (0, 0), (1, 0)):  # (0, 1) is now the longest unused
        store.read(time, view)
    reads.clear()
    store.read(0, 0)
    store.read(1, 0)
    assert reads == []
    store.read(0, 1)
    assert reads == [paths[0][1]]


def test_images_larger_than_the_cache_are_not_cached(paths: list[list[Path]], reads: list[Path]) -> None:
    store = FrameStore(paths, 8, 8, cache_bytes=0)
    assert np.array_equal(store.read(0, 0), store.read(0, 0))
    assert len(reads) == 2


def test_images_are_read_only(paths: list[list[Path]]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        FrameStore(paths, 8, 8).read(0, 0)[0, 0, 0] = 1


def test_colors_below_the_alpha_floor_are_removed(tmp_path: Path) -> None:
    rgba = np.full((1, 4, 4), 200, np.uint8)
    rgba[0, :, 3] = (0, 7, 8, 255)
    write_png(tmp_path / "a.png", rgba)
    pixels = FrameStore([[tmp_path / "a.png"]], 4, 1, alpha_floor=8).read(0, 0)
    assert pixels[0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [6, 6, 6, 8], [200, 200, 200, 255]]


def test_missing_images_are_named(paths: list[list[Path]]) -> None:
    paths[2][1].unlink()
    store = FrameStore([[None, paths[0][1]], *paths[1:]], 8, 8)
    with pytest.raises(ValueError, match=r"view 0 .* time index 0"):
        store.read(0, 0)
    with pytest.raises(ValueError, match=r"2_1\.png"):
        store.read(2, 1)
